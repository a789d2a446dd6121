"""The client for callers with an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from paycore.client import calls, model, rpcs
from paycore.client.addresses import DEFAULT_CONNECTIONS, Addresses
from paycore.client.analytics import Analytics
from paycore.client.approvals import Approvals
from paycore.client.bulk import Bulk, Item
from paycore.client.calls import Call
from paycore.client.core import (
    REQUEST_ID_KEY,
    Core,
    Lanes,
    Surroundings,
    label,
)
from paycore.client.errors import (
    AuthorizationInvalidError,
    ClientError,
    HandshakeError,
    UnreachableError,
)
from paycore.client.failures import failure_of
from paycore.client.handshake import LONGEST_LOOK_S, HandshakeCheck
from paycore.client.model import BulkReceipt, Receipt
from paycore.client.movements import Movements
from paycore.client.policy import PolicyCalls
from paycore.client.reading import Reading
from paycore.client.retries import Attempts, Patience, Timeouts
from paycore.client.rpcs import Service
from paycore.client.statements import Statements
from paycore.client.streaming import DEFAULT_WINDOW, TransferStream
from paycore.client.webhooks import WebhookMethods
from paycore.domain.accounts import AccountStatus
from paycore.domain.identifiers import ExternalIdentifier
from paycore.domain.pin import Pin
from paycore.runtime.channel import SEPARATE_CONNECTION, open_channel
from paycore.runtime.tls import TlsFiles

Answer = TypeVar("Answer")
DEFAULT_TIMEOUTS = Timeouts()


class PaycoreClient(
    Analytics, Approvals, Movements, PolicyCalls, Reading, Statements, WebhookMethods
):
    """Calls paycore and tries again where that is safe; use it as an async context manager.

    Every method raises ClientError: RefusedError's subclasses for what paycore says, TransportError
    for what gRPC says, HandshakeError where certificates can never match. A command without an
    idempotency key gets one, which is kept over all attempts and stands in the receipt and in the
    error. When `error.outcome_unknown`, ask `lookup_transfer(error.idempotency_key)`.
    """

    def __init__(
        self,
        command_target: str,
        *,
        query_target: str | None = None,
        signing_target: str | None = None,
        tls: TlsFiles | None = None,
        connections: int = DEFAULT_CONNECTIONS,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        surroundings: Surroundings | None = None,
    ) -> None:
        """Targets are host:port. Connects when the first call is made.

        Must be made inside the event loop. Raises HandshakeError when the files of `tls` cannot be
        used, and ValueError when `connections` is not 1 to 64.
        """
        surroundings = surroundings or Surroundings()
        addresses = Addresses.of(command_target, query_target, signing_target, tls, connections)
        self._core = Core(addresses.identity, timeouts, surroundings)
        self._lanes = {
            service: Lanes(
                [
                    open_channel(address.target, tls, SEPARATE_CONNECTION, service=service.process)
                    for _ in range(address.connections)
                ]
            )
            for service, address in addresses.services.items()
        }
        self._checks = {
            service: HandshakeCheck(address.secured, surroundings.clock.monotonic_s)
            for service, address in addresses.services.items()
            if address.secured is not None
        }

    @property
    def identity(self) -> str:
        """The name that services know this client by."""
        return self._core.identity

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; calls under way fail."""
        for lanes in self._lanes.values():
            for channel in lanes.channels:
                await channel.close()

    # Accounts

    async def create_account(self, account: model.NewAccount) -> model.AccountReceipt:
        """Open one account at balance zero."""
        key = self._core.key(account.idempotency_key)
        return await self._run(calls.create_account(account, key))

    async def create_accounts(
        self, accounts: Sequence[model.NewAccount]
    ) -> BulkReceipt[model.AccountReceipt]:
        """Open 1 to 1,000 accounts, each with an outcome of its own."""
        return await self._run_bulk(self._core.accounts(accounts))

    async def get_account(self, account: model.AccountName) -> model.Account:
        """The account as it stands in the primary now."""
        return await self._run(calls.get_account(account))

    async def set_account_status(
        self,
        account: model.AccountName,
        status: AccountStatus,
        reason: str,
        *,
        expected_revision: int | None = None,
        actor: model.Actor | None = None,
        idempotency_key: str | None = None,
    ) -> model.AccountReceipt:
        """Freeze, close or reactivate an account; `reason` is for the audit."""
        key = self._core.key(idempotency_key)
        return await self._run(
            calls.set_account_status(account, status, reason, expected_revision, actor, key)
        )

    async def set_overdraft_limit(
        self,
        account: model.AccountName,
        limit: int,
        reason: str,
        *,
        expected_revision: int | None = None,
        actor: model.Actor | None = None,
        idempotency_key: str | None = None,
    ) -> model.AccountReceipt:
        """Let an account go `limit` minor units below zero; `reason` is for the audit."""
        key = self._core.key(idempotency_key)
        return await self._run(
            calls.set_overdraft_limit(account, limit, reason, expected_revision, actor, key)
        )

    async def erase_subject(
        self, subject: str, reason: str, *, actor: model.Actor | None = None
    ) -> model.Erasure:
        """Erase the personal data of a user, for ever; `reason` is for the audit."""
        return await self._run(calls.erase_subject(subject, reason, actor))

    async def link_identifier(
        self,
        account: int,
        identifier: ExternalIdentifier,
        *,
        actor: model.Actor | None = None,
        idempotency_key: str | None = None,
    ) -> model.AccountReceipt:
        """Give an account a name of the world outside, for ever."""
        key = self._core.key(idempotency_key)
        return await self._run(calls.link_identifier(account, identifier, actor, key))

    async def resolve_identifier(self, identifier: ExternalIdentifier) -> int:
        """The id of the account that `identifier` names."""
        return await self._run(calls.resolve_identifier(identifier))

    # Transfers

    async def submit_transfer(
        self,
        order: model.TransferOrder,
        *,
        pin: Pin | None = None,
        proof: model.StepUpProof | None = None,
    ) -> model.TransferReceipt:
        """Move money once, however often the request has to be sent.

        With `pin` the payer approves exactly this payment: it is sealed here, and only the signing
        service can open it. `proof` is such an approval made elsewhere (`seal_pin`).
        """
        order, key = self._core.keyed(order)
        if pin is not None:
            proof = await self.seal_pin(order, pin)
        try:
            return await self._run(calls.submit_transfer(order, key, proof))
        except AuthorizationInvalidError:
            self._core.forget_sealing_key()
            raise

    async def submit_transfers(
        self, orders: Sequence[model.TransferOrder]
    ) -> BulkReceipt[model.TransferReceipt]:
        """Move money 1 to 1,000 times independently; a refused item is data, not an exception.

        Items that were refused for the moment are sent again, alone, within the total time.
        """
        return await self._run_bulk(self._core.transfers(orders))

    def stream_transfers(
        self, orders: AsyncIterable[model.TransferOrder], *, window: int = DEFAULT_WINDOW
    ) -> AsyncGenerator[model.TransferReceipt | model.RefusedItem, None]:
        """Move money as `orders` come, and give each outcome as it commits, in no order.

        The key of an outcome tells its order. At most `window` orders are without an outcome at a
        time: take outcomes as fast as orders are to go. When the connection breaks, the rest goes
        over another one under the same keys, until nothing was learnt for the total time; then the
        error's `unanswered` has the keys that are open. To end early, close the iterator
        (`contextlib.aclosing`): orders that were sent may then be posted unheard.

        Raises ValueError when `window` is below 1 or two orders with one key are under way.
        """
        request_id = self._core.surroundings.new_text()

        def open_call() -> Any:
            begin = self._to(Service.COMMAND).next(rpcs.STREAM_TRANSFERS)
            return begin(metadata=((REQUEST_ID_KEY, request_id),))

        async def diagnose(failure: ClientError) -> ClientError:
            if isinstance(failure, UnreachableError):
                failure = await self._diagnosed(Service.COMMAND, failure)
            return label(failure, request_id, None)

        return TransferStream(self._core, open_call, diagnose, window).outcomes(orders)

    async def lookup_transfer(
        self, idempotency_key: str
    ) -> model.TransferReceipt | model.RefusedItem:
        """What became of the command with this key, from the primary.

        Raises TransferNotFoundError once it is certain that nothing did.
        """
        return await self._run(calls.lookup_transfer(idempotency_key))

    async def lookup_transfers(
        self, reference: str
    ) -> tuple[model.TransferReceipt | model.RefusedItem, ...]:
        """The caller's newest 100 outcomes with this reference, from the primary, without keys."""
        return await self._run(calls.lookup_transfers(reference))

    # History

    async def get_transfer(self, transfer: int, *, min_position: str = "") -> model.TransferView:
        """A transfer or a stored refusal from the read side, at or after `min_position`."""
        return await self._run(calls.get_transfer(transfer, min_position))

    async def list_transfers_page(
        self,
        wanted: model.TransferFilter,
        *,
        page_size: int = 50,
        page_token: str = "",
        min_position: str = "",
        include_total: bool = False,
    ) -> model.TransferPage:
        """One page of an account's history, newest first; at most 500 a page."""
        return await self._run(
            calls.list_transfers(
                wanted, page_size, page_token, min_position, include_total=include_total
            )
        )

    async def list_transfers(
        self, wanted: model.TransferFilter, *, page_size: int = 50, min_position: str = ""
    ) -> AsyncIterator[model.Transfer]:
        """All of an account's history, newest first, a page at a time."""
        token = ""
        while True:
            page = await self.list_transfers_page(
                wanted, page_size=page_size, page_token=token, min_position=min_position
            )
            for transfer in page.transfers:
                yield transfer
            token = page.next_page_token
            if not token:
                return

    async def get_balance(
        self, account: model.AccountName, *, at: datetime | None = None, min_position: str = ""
    ) -> model.Balance:
        """The account's balance now, or after its last entry at or before `at`."""
        return await self._run(calls.get_balance(account, at, min_position))

    # Transport

    async def _run(self, call: Call[Answer], attempts: Attempts | None = None) -> Answer:
        attempts = attempts or self._core.attempts(call.patience, repeatable=call.repeatable)
        request_id = self._core.surroundings.new_text()
        while True:
            try:
                return await self._attempt(call, attempts.timeout_s(), request_id)
            except ClientError as error:
                failure = error
            if isinstance(failure, UnreachableError) and attempts.remaining_s() > LONGEST_LOOK_S:
                failure = await self._diagnosed(call.rpc.service, failure)
            label(failure, request_id, call.idempotency_key)
            await asyncio.sleep(attempts.pause_s(failure))

    async def _attempt(self, call: Call[Answer], timeout_s: float, request_id: str) -> Answer:
        send = self._to(call.rpc.service).next(call.rpc)
        try:
            reply: Any = await send(
                call.request, timeout=timeout_s, metadata=((REQUEST_ID_KEY, request_id),)
            )
        except grpc.RpcError as error:
            raise failure_of(error) from error
        return call.read(reply)

    async def _run_bulk(self, bulk: Bulk[Item, Receipt]) -> BulkReceipt[Receipt]:
        attempts = self._core.attempts(Patience.BULK)
        while True:
            try:
                outcomes = await self._run(bulk.call(), attempts)
            except ClientError as failure:
                if not bulk.began:
                    raise
                bulk.give_up(failure)
                return bulk.receipt()
            again = bulk.absorb(outcomes)
            pause_s = None if again is None else attempts.pause_or_none_s(again)
            if pause_s is None:
                return bulk.receipt()
            await asyncio.sleep(pause_s)

    async def _diagnosed(self, service: Service, failure: UnreachableError) -> ClientError:
        check = self._checks.get(service)
        fault = None if check is None else await check.fault()
        return failure if fault is None else HandshakeError(fault)

    def _to(self, service: Service) -> Lanes:
        try:
            return self._lanes[service]
        except KeyError:
            raise ValueError(f"this client was given no address of {service}") from None

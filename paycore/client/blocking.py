"""The client for callers without an event loop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from paycore.client import calls, model
from paycore.client.addresses import DEFAULT_CONNECTIONS, PLAIN_TEXT_IDENTITY, Addresses
from paycore.client.blocking_analytics import BlockingAnalytics
from paycore.client.blocking_approvals import BlockingApprovals
from paycore.client.blocking_movements import BlockingMovements
from paycore.client.blocking_policy import BlockingPolicy
from paycore.client.blocking_reading import BlockingReading
from paycore.client.blocking_webhooks import BlockingWebhooks
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
from paycore.client.handshake import LONGEST_LOOK_S, BlockingHandshakeCheck
from paycore.client.model import BulkReceipt, Receipt
from paycore.client.retries import Attempts, Patience, Timeouts
from paycore.client.rpcs import Service
from paycore.client.statements import BlockingStatements
from paycore.domain.accounts import AccountStatus
from paycore.domain.identifiers import ExternalIdentifier
from paycore.domain.pin import Pin
from paycore.runtime.channel import open_blocking_channel
from paycore.runtime.tls import TlsFiles

Answer = TypeVar("Answer")
DEFAULT_TIMEOUTS = Timeouts()


class BlockingPaycoreClient(
    BlockingAnalytics,
    BlockingApprovals,
    BlockingMovements,
    BlockingPolicy,
    BlockingReading,
    BlockingStatements,
    BlockingWebhooks,
):
    """`PaycoreClient` without `await`: the same methods, values and errors. Threads may share it.

    Only streams of orders are for event loops, since they send and take at the same time.

    Not for use inside an event loop, which it would hold up.
    """

    def __init__(
        self,
        command: Sequence[grpc.Channel],
        *,
        query: grpc.Channel | None = None,
        signing: grpc.Channel | None = None,
        identity: str = PLAIN_TEXT_IDENTITY,
        checks: Mapping[Service, BlockingHandshakeCheck] | None = None,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        surroundings: Surroundings | None = None,
    ) -> None:
        """A client on channels that exist, which it closes; see `connect` for the usual way."""
        self._core = Core(identity, timeouts, surroundings or Surroundings())
        self._lanes = {Service.COMMAND: Lanes(command)}
        if query is not None:
            self._lanes[Service.QUERY] = Lanes([query])
        if signing is not None:
            self._lanes[Service.SIGNING] = Lanes([signing])
        self._checks = checks or {}

    @classmethod
    def connect(
        cls,
        command_target: str,
        *,
        query_target: str | None = None,
        signing_target: str | None = None,
        tls: TlsFiles | None = None,
        connections: int = DEFAULT_CONNECTIONS,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        surroundings: Surroundings | None = None,
    ) -> Self:
        """A client of the services at host:port. Connects when the first call is made.

        Raises HandshakeError when the files of `tls` cannot be used, and ValueError when
        `connections` is not 1 to 64.
        """
        surroundings = surroundings or Surroundings()
        addresses = Addresses.of(command_target, query_target, signing_target, tls, connections)
        channels = {
            service: [
                open_blocking_channel(address.target, tls, service=service.process)
                for _ in range(address.connections)
            ]
            for service, address in addresses.services.items()
        }
        checks = {
            service: BlockingHandshakeCheck(address.secured, surroundings.clock.monotonic_s)
            for service, address in addresses.services.items()
            if address.secured is not None
        }
        return cls(
            channels[Service.COMMAND],
            query=next(iter(channels.get(Service.QUERY, ())), None),
            signing=next(iter(channels.get(Service.SIGNING, ())), None),
            identity=addresses.identity,
            checks=checks,
            timeouts=timeouts,
            surroundings=surroundings,
        )

    @property
    def identity(self) -> str:
        """The name that services know this client by."""
        return self._core.identity

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection; calls under way fail."""
        for lanes in self._lanes.values():
            for channel in lanes.channels:
                channel.close()

    # Accounts

    def create_account(self, account: model.NewAccount) -> model.AccountReceipt:
        """Open one account at balance zero."""
        key = self._core.key(account.idempotency_key)
        return self._run(calls.create_account(account, key))

    def create_accounts(
        self, accounts: Sequence[model.NewAccount]
    ) -> BulkReceipt[model.AccountReceipt]:
        """Open 1 to 1,000 accounts, each with an outcome of its own."""
        return self._run_bulk(self._core.accounts(accounts))

    def get_account(self, account: model.AccountName) -> model.Account:
        """The account as it stands in the primary now."""
        return self._run(calls.get_account(account))

    def set_account_status(
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
        return self._run(
            calls.set_account_status(account, status, reason, expected_revision, actor, key)
        )

    def set_overdraft_limit(
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
        return self._run(
            calls.set_overdraft_limit(account, limit, reason, expected_revision, actor, key)
        )

    def erase_subject(
        self, subject: str, reason: str, *, actor: model.Actor | None = None
    ) -> model.Erasure:
        """Erase the personal data of a user, for ever; `reason` is for the audit."""
        return self._run(calls.erase_subject(subject, reason, actor))

    def link_identifier(
        self,
        account: int,
        identifier: ExternalIdentifier,
        *,
        actor: model.Actor | None = None,
        idempotency_key: str | None = None,
    ) -> model.AccountReceipt:
        """Give an account a name of the world outside, for ever."""
        key = self._core.key(idempotency_key)
        return self._run(calls.link_identifier(account, identifier, actor, key))

    def resolve_identifier(self, identifier: ExternalIdentifier) -> int:
        """The id of the account that `identifier` names."""
        return self._run(calls.resolve_identifier(identifier))

    # Transfers

    def submit_transfer(
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
            proof = self.seal_pin(order, pin)
        try:
            return self._run(calls.submit_transfer(order, key, proof))
        except AuthorizationInvalidError:
            self._core.forget_sealing_key()
            raise

    def submit_transfers(
        self, orders: Sequence[model.TransferOrder]
    ) -> BulkReceipt[model.TransferReceipt]:
        """Move money 1 to 1,000 times independently; a refused item is data, not an exception.

        Items that were refused for the moment are sent again, alone, within the total time.
        """
        return self._run_bulk(self._core.transfers(orders))

    def lookup_transfer(self, idempotency_key: str) -> model.TransferReceipt | model.RefusedItem:
        """What became of the command with this key, from the primary.

        Raises TransferNotFoundError once it is certain that nothing did.
        """
        return self._run(calls.lookup_transfer(idempotency_key))

    def lookup_transfers(
        self, reference: str
    ) -> tuple[model.TransferReceipt | model.RefusedItem, ...]:
        """The caller's newest 100 outcomes with this reference, from the primary, without keys."""
        return self._run(calls.lookup_transfers(reference))

    # History

    def get_transfer(self, transfer: int, *, min_position: str = "") -> model.TransferView:
        """A transfer or a stored refusal from the read side, at or after `min_position`."""
        return self._run(calls.get_transfer(transfer, min_position))

    def list_transfers_page(
        self,
        wanted: model.TransferFilter,
        *,
        page_size: int = 50,
        page_token: str = "",
        min_position: str = "",
        include_total: bool = False,
    ) -> model.TransferPage:
        """One page of an account's history, newest first; at most 500 a page."""
        return self._run(
            calls.list_transfers(
                wanted, page_size, page_token, min_position, include_total=include_total
            )
        )

    def list_transfers(
        self, wanted: model.TransferFilter, *, page_size: int = 50, min_position: str = ""
    ) -> Iterator[model.Transfer]:
        """All of an account's history, newest first, a page at a time."""
        token = ""
        while True:
            page = self.list_transfers_page(
                wanted, page_size=page_size, page_token=token, min_position=min_position
            )
            yield from page.transfers
            token = page.next_page_token
            if not token:
                return

    def get_balance(
        self, account: model.AccountName, *, at: datetime | None = None, min_position: str = ""
    ) -> model.Balance:
        """The account's balance now, or after its last entry at or before `at`."""
        return self._run(calls.get_balance(account, at, min_position))

    # Transport

    def _run(self, call: Call[Answer], attempts: Attempts | None = None) -> Answer:
        attempts = attempts or self._core.attempts(call.patience, repeatable=call.repeatable)
        request_id = self._core.surroundings.new_text()
        while True:
            try:
                return self._attempt(call, attempts.timeout_s(), request_id)
            except ClientError as error:
                failure = error
            if isinstance(failure, UnreachableError) and attempts.remaining_s() > LONGEST_LOOK_S:
                failure = self._diagnosed(call.rpc.service, failure)
            label(failure, request_id, call.idempotency_key)
            time.sleep(attempts.pause_s(failure))

    def _attempt(self, call: Call[Answer], timeout_s: float, request_id: str) -> Answer:
        send = self._to(call.rpc.service).next(call.rpc)
        try:
            reply: Any = send(
                call.request, timeout=timeout_s, metadata=((REQUEST_ID_KEY, request_id),)
            )
        except grpc.RpcError as error:
            raise failure_of(error) from error
        return call.read(reply)

    def _run_bulk(self, bulk: Bulk[Item, Receipt]) -> BulkReceipt[Receipt]:
        attempts = self._core.attempts(Patience.BULK)
        while True:
            try:
                outcomes = self._run(bulk.call(), attempts)
            except ClientError as failure:
                if not bulk.began:
                    raise
                bulk.give_up(failure)
                return bulk.receipt()
            again = bulk.absorb(outcomes)
            pause_s = None if again is None else attempts.pause_or_none_s(again)
            if pause_s is None:
                return bulk.receipt()
            time.sleep(pause_s)

    def _diagnosed(self, service: Service, failure: UnreachableError) -> ClientError:
        check = self._checks.get(service)
        fault = None if check is None else check.fault()
        return failure if fault is None else HandshakeError(fault)

    def _to(self, service: Service) -> Lanes:
        try:
            return self._lanes[service]
        except KeyError:
            raise ValueError(f"this client was given no address of {service}") from None

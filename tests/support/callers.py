"""Raw calls through mTLS, as a caller without our client would make them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

import grpc

from deploy.local import Endpoints
from paycore.domain.errors import PaycoreError
from paycore.runtime.channel import SEPARATE_CONNECTION, Options, open_channel
from paycore.runtime.errors import from_rpc_error
from paycore.signing.v1 import signing_service_pb2_grpc
from paycore.v1 import (
    account_pb2,
    account_service_pb2_grpc,
    analytics_service_pb2_grpc,
    history_service_pb2_grpc,
    money_pb2,
    personal_data_service_pb2_grpc,
    policy_service_pb2_grpc,
    transfer_pb2,
    transfer_service_pb2_grpc,
    webhook_service_pb2_grpc,
)
from paycore.v1 import account_service_pb2 as accounts_pb2
from paycore.v1 import transfer_service_pb2 as transfers_pb2

TIMEOUT_S = 15.0
"""Generous: these tests are about what is answered, not about how fast."""

PASSING = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    # What a server that ends had received, and not yet taken up.
    grpc.StatusCode.CANCELLED,
)
"""Codes of failures that pass by themselves, on a busy machine too."""


@dataclass(frozen=True)
class Refusal:
    """A failed call: gRPC's code and, where paycore speaks, its error."""

    code: grpc.StatusCode
    error: PaycoreError | None
    details: str

    @property
    def reason(self) -> str | None:
        return None if self.error is None else self.error.reason.value

    @property
    def fields(self) -> list[str]:
        """The paths of the fields that are blamed."""
        return [] if self.error is None else [bad.field for bad in self.error.violations]


async def refusal_of(call: Awaitable[object]) -> Refusal | None:
    """How `call` was refused; None when it was answered."""
    try:
        await call
    except grpc.RpcError as error:
        failed: Any = error
        return Refusal(failed.code(), from_rpc_error(error), failed.details() or "")
    return None


def raw(channel: grpc.aio.Channel, path: str) -> Any:
    """The method at `path`, to be called with bytes of any kind; it answers with bytes."""
    untyped: Any = channel
    return untyped.unary_unary(path)


async def answered(ask: Callable[[], Awaitable[Any]], within_s: float = 90.0) -> Any:
    """The answer to `ask`, asked again while paycore says that it is not ready yet."""
    give_up_s = time.monotonic() + within_s
    while True:
        try:
            return await ask()
        except grpc.RpcError as error:
            failed: Any = error
            if failed.code() not in PASSING or time.monotonic() > give_up_s:
                raise
        await asyncio.sleep(0.2)


@dataclass(frozen=True)
class Caller:
    """One identity's stubs on every service."""

    name: str
    channels: dict[str, grpc.aio.Channel]
    transfers: Any = field(init=False)
    accounts: Any = field(init=False)
    history: Any = field(init=False)
    analytics: Any = field(init=False)
    policy: Any = field(init=False)
    signing: Any = field(init=False)
    webhooks: Any = field(init=False)
    personal: Any = field(init=False)

    def __post_init__(self) -> None:
        stubs = {
            "transfers": transfer_service_pb2_grpc.TransferServiceStub(self.channels["command"]),
            "accounts": account_service_pb2_grpc.AccountServiceStub(self.channels["command"]),
            "personal": personal_data_service_pb2_grpc.PersonalDataServiceStub(
                self.channels["command"]
            ),
            "history": history_service_pb2_grpc.HistoryServiceStub(self.channels["query"]),
            "analytics": analytics_service_pb2_grpc.AnalyticsServiceStub(self.channels["query"]),
            "policy": policy_service_pb2_grpc.PolicyServiceStub(self.channels["command"]),
            "webhooks": webhook_service_pb2_grpc.WebhookServiceStub(self.channels["command"]),
            "signing": signing_service_pb2_grpc.SigningServiceStub(self.channels["signing"]),
        }
        for name, stub in stubs.items():
            object.__setattr__(self, name, stub)

    async def submit(self, request: transfers_pb2.SubmitTransferRequest) -> Any:
        """SubmitTransfer within TIMEOUT_S."""
        return await self.transfers.SubmitTransfer(request, timeout=TIMEOUT_S)

    async def open(self, count: int, *, balance: int = 0, **changes: Any) -> list[int]:
        """Open an EXTERNAL account and `count` customers, each with `balance` from the first."""
        reply = await self.accounts.CreateAccounts(
            accounts_pb2.CreateAccountsRequest(
                accounts=[
                    opening(**{**changes, "kind": account_pb2.ACCOUNT_KIND_EXTERNAL}),
                    *(opening(**changes) for _ in range(count)),
                ]
            ),
            timeout=TIMEOUT_S,
        )
        ids = [outcome.account.id for outcome in reply.outcomes]
        assert all(ids), reply
        if balance:
            await self.fund(ids[0], ids[1:], balance, changes.get("currency", "EUR"))
        return ids

    async def fund(self, source: int, customers: list[int], balance: int, currency: str) -> None:
        """Deposit `balance` on each of `customers`, which are 1,000 at most."""
        reply = await self.transfers.SubmitTransfers(
            transfers_pb2.SubmitTransfersRequest(
                transfers=[
                    payment(
                        source,
                        customer,
                        balance,
                        currency=currency,
                        kind=transfer_pb2.TRANSFER_KIND_DEPOSIT,
                    )
                    for customer in customers
                ]
            ),
            timeout=TIMEOUT_S,
        )
        assert all(outcome.HasField("transfer") for outcome in reply.outcomes), reply


class Callers:
    """Opens channels as they are asked for; use as an async context manager."""

    def __init__(self, endpoints: Endpoints, command_target: str | None = None) -> None:
        """`command_target` stands in for the stack's own command service."""
        self._endpoints = endpoints
        self._targets = {
            service: endpoints.target(service) for service in ("command", "query", "signing")
        }
        if command_target is not None:
            self._targets["command"] = command_target
        self._callers: dict[str, Caller] = {}
        self._extra: list[Caller] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        callers = [*self._callers.values(), *self._extra]
        channels = [channel for caller in callers for channel in caller.channels.values()]
        await asyncio.gather(*(channel.close(None) for channel in channels))

    def of(self, name: str) -> Caller:
        """The caller `name`, always over the same connections."""
        if name not in self._callers:
            self._callers[name] = self._open(name)
        return self._callers[name]

    def another(self, name: str, options: Options = ()) -> Caller:
        """The caller `name` over connections of its own, which reach any of the processes.

        `options` are gRPC's, beside those that every channel has.
        """
        self._extra.append(self._open(name, options))
        return self._extra[-1]

    def _open(self, name: str, options: Options = ()) -> Caller:
        tls = self._endpoints.tls[name]
        return Caller(
            name,
            {
                service: open_channel(
                    target, tls, (*SEPARATE_CONNECTION, *options), service=service
                )
                for service, target in self._targets.items()
            },
        )


def opening(**changes: Any) -> accounts_pb2.CreateAccountRequest:
    """A customer's EUR account under a key of its own."""
    values: dict[str, Any] = {
        "idempotency_key": secrets.token_hex(12),
        "owner": "someone",
        "institution": "bank",
        "currency": "EUR",
        "kind": account_pb2.ACCOUNT_KIND_CUSTOMER,
    }
    return accounts_pb2.CreateAccountRequest(**{**values, **changes})


def payment(
    debit: int, credit: int, amount: int = 100, *, currency: str = "EUR", **changes: Any
) -> transfers_pb2.SubmitTransferRequest:
    """A TRANSFER under a key of its own."""
    values: dict[str, Any] = {
        "idempotency_key": secrets.token_hex(12),
        "kind": transfer_pb2.TRANSFER_KIND_TRANSFER,
        "debit_account_id": debit,
        "credit_account_id": credit,
        "amount": money_pb2.Money(minor_units=amount, currency=currency),
    }
    return transfers_pb2.SubmitTransferRequest(**{**values, **changes})

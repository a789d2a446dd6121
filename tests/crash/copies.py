"""One request of each kind of command, to be sent many times over."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from paycore.v1 import account_service_pb2 as accounts_pb2
from paycore.v1 import money_pb2, transfer_pb2
from paycore.v1 import transfer_service_pb2 as pb2
from tests.support.callers import PASSING, TIMEOUT_S, Caller, payment

Send = Callable[[Any], Awaitable[Any]]
"""Takes a caller's stub of TransferService, gives its reply."""


@dataclass(frozen=True)
class Effect:
    """A request, and by how much it changes balance and held of the account that it debits."""

    name: str
    send: Send
    debited: int
    balance: int
    held: int
    entries: int = 1


@dataclass(frozen=True)
class Figures:
    """What an account has, in minor units, and how many entries."""

    balance: int
    held: int
    version: int


def hold_request(debit: int, credit: int, amount: int, **changes: Any) -> pb2.HoldFundsRequest:
    """A hold of an hour, in EUR, under a key of its own."""
    values: dict[str, Any] = {
        "idempotency_key": secrets.token_hex(12),
        "debit_account_id": debit,
        "credit_account_id": credit,
        "amount": euros(amount),
    }
    request = pb2.HoldFundsRequest(**{**values, **changes})
    request.expire_time.FromSeconds(int(time.time()) + 3_600)
    return request


def euros(amount: int) -> money_pb2.Money:
    """`amount` minor units of EUR."""
    return money_pb2.Money(minor_units=amount, currency="EUR")


async def one_of_each(caller: Caller) -> list[Effect]:
    """A request of each kind, on accounts of its own, with what it follows already posted."""
    return [
        await _transfer(caller),
        await _hold(caller),
        await _capture(caller),
        await _release(caller),
        await _refund(caller),
        await _reversal(caller),
        await _group(caller),
    ]


async def figures(caller: Caller, account: int) -> Figures:
    """The account as the primary has it now."""
    request = accounts_pb2.GetAccountRequest(account_id=account)
    found = (await caller.accounts.GetAccount(request, timeout=TIMEOUT_S)).account
    return Figures(found.balance_minor_units, found.held_minor_units, found.version)


def after_once(before: Figures, effect: Effect) -> Figures:
    """What the debited account has when the effect came once."""
    return Figures(
        before.balance + effect.balance,
        before.held + effect.held,
        before.version + effect.entries,
    )


async def insistently(send: Send, callers: Sequence[Caller], within_s: float = 90.0) -> Any:
    """The reply to `send`, sent again by the next of `callers` while the service comes back."""
    give_up_s, turn = time.monotonic() + within_s, 0
    while True:
        try:
            return await send(callers[turn % len(callers)].transfers)
        except grpc.RpcError as error:
            failed: Any = error
            if failed.code() not in PASSING or time.monotonic() > give_up_s:
                raise
        turn += 1
        await asyncio.sleep(0.05)


def without_mark(reply: Any) -> bytes:
    """Every field of a reply but `replayed`."""
    copy = type(reply)()
    copy.CopyFrom(reply)
    copy.replayed = False
    return bytes(copy.SerializeToString(deterministic=True))


async def _transfer(caller: Caller) -> Effect:
    _, one, two = await caller.open(2, balance=1_000)
    request = payment(one, two, 10, description="once", reference="copies")
    return Effect("transfer", lambda s: s.SubmitTransfer(request, timeout=TIMEOUT_S), one, -10, 0)


async def _hold(caller: Caller) -> Effect:
    _, one, two = await caller.open(2, balance=1_000)
    request = hold_request(one, two, 10)
    return Effect("hold", lambda s: s.HoldFunds(request, timeout=TIMEOUT_S), one, 0, 10)


async def _capture(caller: Caller) -> Effect:
    hold = await _held(caller, 50)
    request = pb2.CaptureHoldRequest(
        idempotency_key=secrets.token_hex(12), hold_id=hold.id, amount=euros(10), final=False
    )
    payer = hold.debit_account_id
    return Effect("capture", lambda s: s.CaptureHold(request, timeout=TIMEOUT_S), payer, -10, -10)


async def _release(caller: Caller) -> Effect:
    hold = await _held(caller, 50)
    request = pb2.ReleaseHoldRequest(idempotency_key=secrets.token_hex(12), hold_id=hold.id)
    payer = hold.debit_account_id
    return Effect("release", lambda s: s.ReleaseHold(request, timeout=TIMEOUT_S), payer, 0, -50)


async def _refund(caller: Caller) -> Effect:
    paid = await _paid(caller)
    request = pb2.RefundTransferRequest(
        idempotency_key=secrets.token_hex(12), transfer_id=paid.id, amount=euros(10)
    )
    payee = paid.credit_account_id
    return Effect("refund", lambda s: s.RefundTransfer(request, timeout=TIMEOUT_S), payee, -10, 0)


async def _reversal(caller: Caller) -> Effect:
    paid = await _paid(caller)
    request = pb2.ReverseTransferRequest(
        idempotency_key=secrets.token_hex(12), transfer_id=paid.id, reason="copies"
    )
    payee = paid.credit_account_id
    return Effect(
        "reversal", lambda s: s.ReverseTransfer(request, timeout=TIMEOUT_S), payee, -100, 0
    )


async def _group(caller: Caller) -> Effect:
    _, one, two, three = await caller.open(3, balance=1_000)
    request = pb2.SubmitTransferGroupRequest(
        idempotency_key=secrets.token_hex(12),
        transfers=[
            pb2.GroupedTransfer(
                kind=transfer_pb2.TRANSFER_KIND_TRANSFER,
                debit_account_id=one,
                credit_account_id=payee,
                amount=euros(10),
            )
            for payee in (two, three)
        ],
    )
    return Effect(
        "group", lambda s: s.SubmitTransferGroup(request, timeout=TIMEOUT_S), one, -20, 0, entries=2
    )


async def _held(caller: Caller, amount: int) -> transfer_pb2.Transfer:
    _, one, two = await caller.open(2, balance=1_000)
    request = hold_request(one, two, amount)
    reply = await caller.transfers.HoldFunds(request, timeout=TIMEOUT_S)
    transfer: transfer_pb2.Transfer = reply.transfer
    return transfer


async def _paid(caller: Caller) -> transfer_pb2.Transfer:
    _, one, two = await caller.open(2, balance=1_000)
    transfer: transfer_pb2.Transfer = (await caller.submit(payment(one, two, 100))).transfer
    return transfer

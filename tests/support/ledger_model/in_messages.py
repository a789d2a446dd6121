"""The model's requests as calls of a service, and its replies in the model's words."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import grpc

from paycore.domain.errors import PaycoreError
from paycore.runtime.errors import from_rpc_error, from_status
from paycore.v1 import account_pb2, money_pb2, transfer_pb2
from paycore.v1 import account_service_pb2 as accounts_pb2
from paycore.v1 import transfer_service_pb2 as pb2
from tests.support.callers import TIMEOUT_S, Caller, Callers
from tests.support.ledger_model import asked as asking
from tests.support.ledger_model import told as telling
from tests.support.ledger_model.likeness import Names

_HIDDEN = ("available", "shortfall", "remaining")
"""Figures of a refusal that only those see who may read the payer."""

_OF_THE_REPLY = ("decline_id", "position", "replayed")
"""What a stored decline tells beside its figures."""


@dataclass
class Service:
    """Asks, and checks that a replay is the first reply again in every field but `replayed`."""

    callers: Callers
    names: Names
    first_replies: dict[tuple[str, str], object] = field(default_factory=dict)

    async def tell(self, asked: asking.Asked, expected: telling.Told) -> telling.Told:
        """What the service says to `asked`; new ids are learnt from what is `expected` of it."""
        caller = self.callers.of(asked.client)
        try:
            reply = await self._call(caller, asked)
        except grpc.RpcError as failed:
            error = from_rpc_error(failed)
            if error is None:
                raise
            return self._refusal(asked, error, expected)
        return self._answer(asked, reply, expected)

    async def tell_many(
        self, client: str, asked: list[asking.Payment], expected: list[telling.Told]
    ) -> list[telling.Told]:
        """The same of payments that are asked for in one request."""
        request = pb2.SubmitTransfersRequest(transfers=[self._payment(one) for one in asked])
        reply = await self.callers.of(client).transfers.SubmitTransfers(request, timeout=TIMEOUT_S)
        return self._outcomes(asked, reply.outcomes, expected)

    async def tell_in_a_stream(
        self, client: str, asked: list[asking.Payment], expected: list[telling.Told]
    ) -> list[telling.Told]:
        """The same in a stream; each key may be there once, for it is what outcomes are told by."""
        request = pb2.StreamTransfersRequest(transfers=[self._payment(one) for one in asked])
        call = self.callers.of(client).transfers.StreamTransfers(iter([request]), timeout=TIMEOUT_S)
        by_key = {
            outcome.idempotency_key: outcome async for reply in call for outcome in reply.outcomes
        }
        return self._outcomes(asked, [by_key[one.key] for one in asked], expected)

    def _outcomes(
        self, asked: list[asking.Payment], outcomes: Sequence[Any], expected: list[telling.Told]
    ) -> list[telling.Told]:
        told = []
        for one, outcome, wanted in zip(asked, outcomes, expected, strict=True):
            assert outcome.idempotency_key == one.key
            if outcome.HasField("transfer"):
                told.append(self._answer(one, outcome, wanted))
                continue
            error = from_status(outcome.error)
            assert error is not None
            told.append(self._refusal(one, error, wanted))
        return told

    async def look_up(self, client: str, key: str) -> None:
        """The service still finds by its key what it said first."""
        request = pb2.LookupTransferRequest(idempotency_key=key)
        caller = self.callers.of(client)
        reply = await caller.transfers.LookupTransfer(request, timeout=TIMEOUT_S)
        found: object
        if reply.outcomes[0].HasField("error"):
            error = from_status(reply.outcomes[0].error)
            assert error is not None
            found = _without_mark(error)
        else:
            found = [_bytes(one.transfer) for one in reply.outcomes]
            found = (reply.outcomes[0].position, found)
        assert found == self.first_replies[(client, key)]

    async def _call(self, caller: Caller, asked: asking.Asked) -> Any:
        transfers, within = caller.transfers, TIMEOUT_S
        match asked:
            case asking.Payment(kind="HOLD"):
                return await transfers.HoldFunds(self._hold(asked), timeout=within)
            case asking.Payment():
                return await transfers.SubmitTransfer(self._payment(asked), timeout=within)
            case asking.Together():
                return await transfers.SubmitTransferGroup(self._group(asked), timeout=within)
            case asking.Following():
                return await self._follow(transfers, asked)
            case asking.StatusChange():
                return await caller.accounts.SetAccountStatus(self._status(asked), timeout=within)
            case asking.LimitChange():
                return await caller.accounts.SetOverdraftLimit(self._limit(asked), timeout=within)
            case _:
                assert_never(asked)

    async def _follow(self, transfers: Any, asked: asking.Following) -> Any:
        key, parent, within = asked.key, self.names.transfer(asked.parent), TIMEOUT_S
        amount = _money(asked.amount, asked.currency or "EUR")
        match asked.wish:
            case "CAPTURE":
                capture = pb2.CaptureHoldRequest(
                    idempotency_key=key, hold_id=parent, amount=amount, final=asked.final
                )
                return await transfers.CaptureHold(capture, timeout=within)
            case "RELEASE":
                release = pb2.ReleaseHoldRequest(idempotency_key=key, hold_id=parent)
                return await transfers.ReleaseHold(release, timeout=within)
            case "REFUND":
                refund = pb2.RefundTransferRequest(
                    idempotency_key=key, transfer_id=parent, amount=amount
                )
                return await transfers.RefundTransfer(refund, timeout=within)
            case "REVERSAL":
                reversal = pb2.ReverseTransferRequest(
                    idempotency_key=key, transfer_id=parent, reason="a program"
                )
                return await transfers.ReverseTransfer(reversal, timeout=within)
            case "APPROVE":
                approval = pb2.ApproveReviewRequest(
                    idempotency_key=key, transfer_id=parent, reason="a program"
                )
                return await transfers.ApproveReview(approval, timeout=within)
            case _:
                refusal = pb2.RefuseReviewRequest(
                    idempotency_key=key, transfer_id=parent, reason="a program"
                )
                return await transfers.RefuseReview(refusal, timeout=within)

    def _payment(self, asked: asking.Payment) -> pb2.SubmitTransferRequest:
        return pb2.SubmitTransferRequest(idempotency_key=asked.key, **self._movement(asked))

    def _group(self, asked: asking.Together) -> pb2.SubmitTransferGroupRequest:
        items = [pb2.GroupedTransfer(**self._movement(item)) for item in asked.items]
        return pb2.SubmitTransferGroupRequest(idempotency_key=asked.key, transfers=items)

    def _hold(self, asked: asking.Payment) -> pb2.HoldFundsRequest:
        fields = self._movement(asked)
        del fields["kind"], fields["expected_credit_version"]
        request = pb2.HoldFundsRequest(idempotency_key=asked.key, **fields)
        assert asked.expires_us is not None
        request.expire_time.FromMicroseconds(asked.expires_us)
        return request

    def _movement(self, asked: asking.Payment) -> dict[str, Any]:
        return {
            "kind": transfer_pb2.TransferKind.Value(f"TRANSFER_KIND_{asked.kind}"),
            "debit_account_id": self.names.account(asked.debit),
            "credit_account_id": self.names.account(asked.credit),
            "amount": _money(asked.amount, asked.currency),
            "reference": asked.reference or "",
            "expected_debit_version": asked.expected_debit_version,
            "expected_credit_version": asked.expected_credit_version,
        }

    def _limit(self, asked: asking.LimitChange) -> accounts_pb2.SetOverdraftLimitRequest:
        return accounts_pb2.SetOverdraftLimitRequest(
            idempotency_key=asked.key,
            account_id=self.names.account(asked.account),
            overdraft_limit_minor_units=asked.limit,
            expected_revision=asked.expected_revision,
            reason="a program",
        )

    def _status(self, asked: asking.StatusChange) -> accounts_pb2.SetAccountStatusRequest:
        return accounts_pb2.SetAccountStatusRequest(
            idempotency_key=asked.key,
            account_id=self.names.account(asked.account),
            status=account_pb2.AccountStatus.Value(f"ACCOUNT_STATUS_{asked.status}"),
            expected_revision=asked.expected_revision,
            reason="a program",
        )

    def _answer(self, asked: asking.Asked, reply: Any, expected: telling.Told) -> telling.Told:
        key = (asked.client, asked.key)
        if isinstance(asked, asking.StatusChange | asking.LimitChange):
            account = reply.account
            self._check_first(key, _bytes(account), replayed=reply.replayed)
            return telling.Changed(
                asked.account,
                account_pb2.AccountStatus.Name(account.status).removeprefix("ACCOUNT_STATUS_"),
                account.revision,
                account.balance_minor_units,
                account.held_minor_units,
                account.version,
                account.overdraft_limit_minor_units,
                reply.replayed,
            )
        group = isinstance(asked, asking.Together)
        messages = list(reply.transfers) if group else [reply.transfer]
        whole = (reply.position, [_bytes(one) for one in messages])
        self._check_first(key, whole, replayed=reply.replayed)
        if isinstance(expected, telling.Moved):
            self.names.posted(expected.movement.number, messages[0].id)
        elif isinstance(expected, telling.AllMoved):
            for one, message in zip(expected.movements, messages, strict=True):
                self.names.posted(one.number, message.id)
            self.names.grouped(expected.movements[0].number, reply.group_id)
        movements = tuple(_read(message, self.names) for message in messages)
        if group:
            return telling.AllMoved(movements, reply.replayed)
        return telling.Moved(movements[0], reply.replayed)

    def _refusal(
        self, asked: asking.Asked, error: PaycoreError, expected: telling.Told
    ) -> telling.Told:
        """Of a stored decline the caller hears the reason and the figures, not the request."""
        figures = {
            name: value for name, value in error.metadata.items() if name not in _OF_THE_REPLY
        }
        figures, reason = self.names.figures(figures), error.reason.value
        if "decline_id" not in error.metadata:
            return telling.Refused(reason, figures)
        replayed = error.metadata.get("replayed") == "true"
        self._check_first((asked.client, asked.key), _without_mark(error), replayed=replayed)
        if isinstance(expected, telling.Declined):
            return replace(expected, reason=reason, figures=figures, replayed=replayed)
        return telling.Declined(reason, "", 0, 0, 0, True, figures=figures, replayed=replayed)

    def _check_first(self, key: tuple[str, str], reply: object, *, replayed: bool) -> None:
        assert replayed == (key in self.first_replies), f"{key}: replayed is {replayed}"
        assert self.first_replies.setdefault(key, reply) == reply


def as_told(told: telling.Told) -> telling.Told:
    """What the caller hears of `told`: no figures of accounts that it may not read, and no time."""
    match told:
        case telling.Moved():
            return replace(told, movement=_shown(told.movement))
        case telling.AllMoved():
            return replace(told, movements=tuple(map(_shown, told.movements)))
        case telling.Declined() if not told.payer_seen:
            return replace(told, figures={**told.figures, **dict.fromkeys(_HIDDEN)})
        case _:
            return told


def now_us() -> int:
    """The time of day, in microseconds since 1970."""
    return time.time_ns() // 1_000


def _shown(movement: telling.Movement) -> telling.Movement:
    shown = replace(movement, created_us=0)
    if not movement.debit_seen:
        shown = replace(shown, debit_balance=0, debit_held=0)
    if not movement.credit_seen or movement.credit_version is None:
        shown = replace(shown, credit_balance=None, credit_seen=False)
    return shown


def _read(message: transfer_pb2.Transfer, names: Names) -> telling.Movement:
    kind = transfer_pb2.TransferKind.Name(message.kind).removeprefix("TRANSFER_KIND_")
    state = transfer_pb2.TransferState.Name(message.state).removeprefix("TRANSFER_STATE_")
    assert state == ("HELD" if kind == "HOLD" else "POSTED")
    parent_state = transfer_pb2.TransferState.Name(message.parent_state)
    follows = message.parent_id != 0
    credited = message.HasField("credit_balance_after")
    expires = message.HasField("expire_time")
    return telling.Movement(
        number=_number(names.transfers, message.id),
        kind=kind,
        debit=_number(names.accounts, message.debit_account_id),
        credit=_number(names.accounts, message.credit_account_id),
        amount=message.amount.minor_units,
        currency=message.amount.currency,
        client=message.client,
        basis=transfer_pb2.StepUpBasis.Name(message.step_up_basis).removeprefix("STEP_UP_BASIS_"),
        debit_version=message.debit_version,
        credit_version=message.credit_version or None,
        debit_balance=message.debit_balance_after,
        credit_balance=message.credit_balance_after if credited else None,
        debit_held=message.debit_held_after,
        debit_seen=message.HasField("debit_balance_after"),
        credit_seen=credited,
        created_us=0,
        reference=message.reference or None,
        parent=_number(names.transfers, message.parent_id) if follows else None,
        parent_sequence=message.parent_sequence or None,
        parent_remaining=message.parent_remaining_minor_units if follows else None,
        parent_state=parent_state.removeprefix("TRANSFER_STATE_") if follows else None,
        released=message.released_minor_units or None,
        expires_us=message.expire_time.ToMicroseconds() if expires else None,
        group=_number(names.groups, message.group_id) if message.group_id else None,
        review=message.review_rule or None,
    )


def _money(amount: int | None, currency: str) -> money_pb2.Money | None:
    return None if amount is None else money_pb2.Money(minor_units=amount, currency=currency)


def _number(names: dict[int, int], wanted: int) -> int:
    return next((number for number, one in names.items() if one == wanted), 0)


def _bytes(message: Any) -> bytes:
    return bytes(message.SerializeToString(deterministic=True))


def _without_mark(error: PaycoreError) -> object:
    told = {name: value for name, value in error.metadata.items() if name != "replayed"}
    return (error.reason, error.message, told)

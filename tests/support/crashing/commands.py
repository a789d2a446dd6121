"""One command of each sort, made at random from what has been answered so far."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from paycore.client.sealing import SealingKey
from paycore.domain.step_up import PaymentIntent
from paycore.v1 import money_pb2, transfer_pb2
from paycore.v1 import transfer_service_pb2 as pb2
from tests.bench.payers import Payer
from tests.support.callers import payment
from tests.support.crashing.history import History, Leg, Operation, Told
from tests.support.crashing.sendings import ATTEMPT_S, Call, Many, One, Sending, Streamed

PLAIN, STEP_UP = "loadtest", "app"
"""Clients: the payers of the second must approve what is ABOVE."""

ABOVE = 150_000
MOST = 400
"""Minor units of what needs no approval."""

IN_A_CALL = 7
IN_A_LARGE_CALL = 100
HOLD_S = 86_400
"""How long a hold lasts, in seconds: none ends by itself while what was done is compared."""
KEPT = 300
"""Transfers of one sort that may still be followed."""


class Commands:
    """Makes sendings. What they bring is taken up by `learn`."""

    def __init__(
        self, history: History, rng: random.Random, accounts: list[int], crowd: list[int]
    ) -> None:
        """Both are accounts of PLAIN's, with money: few to be contended for, and many."""
        self._history = history
        self._rng = rng
        self._accounts = accounts
        self._crowd = crowd
        self._holds: list[Told] = []
        self._payments: list[Told] = []
        # Not by chance that is repeated: on one stack the same seed may be used again.
        self.run = secrets.token_hex(4)
        """What every key, and so every reference, begins with."""
        self._number = 0
        self._calls: dict[str, Call] = {}
        """How to send those that their legs do not tell whole, by their keys."""
        self.payers: list[tuple[Payer, int]] = []
        """Who can approve, with an account of theirs that has money."""
        self.sealing: SealingKey | None = None
        self._makers: Mapping[str, Callable[[], Sending | None]] = {
            "single": self._single,
            "bulk": self._bulk,
            "stream": self._stream,
            "group": self._group,
            "hold": self._hold,
            "capture": self._capture,
            "release": self._release,
            "refund": self._refund,
            "reversal": self._reversal,
            "by PIN": self._by_pin,
            "by device": self._by_device,
        }
        self._weights = (30, 5, 5, 8, 12, 10, 4, 8, 4, 4, 6)

    @property
    def sorts(self) -> tuple[str, ...]:
        """All sorts of commands there are."""
        return tuple(self._makers)

    def any(self) -> Sending:
        """A command of any sort for which there is what it follows."""
        while True:
            (name,) = self._rng.choices(list(self._makers), self._weights)
            made = self._makers[name]()
            if made is not None:
                return made

    def of(self, sort: str) -> Sending | None:
        """One of that sort, None where there is nothing yet that it could follow."""
        return self._makers[sort]()

    def learn(self, sending: Sending) -> None:
        """Take up what was posted: it can be followed."""
        for operation in sending.operations:
            posted = operation.posted
            for told in posted.transfers if posted else ():
                if told.kind == "HOLD":
                    self._holds.append(told)
                elif told.kind in ("TRANSFER", "CAPTURE") and operation.client == PLAIN:
                    self._payments.append(told)
        del self._holds[:-KEPT], self._payments[:-KEPT]

    def pay(self, debit: int, credit: int, amount: int, command: str = "SINGLE") -> One:
        """One payment between accounts of PLAIN."""
        operation, request = self._order(command, debit, credit, amount)
        return One(self._history, operation, _call("SubmitTransfer", request))

    def large(self) -> Many:
        """IN_A_LARGE_CALL payments between accounts of the crowd, in one call or over a stream."""
        if self._rng.random() < 0.5:
            return Many(self._history, *self._several("LARGE_BULK", IN_A_LARGE_CALL, self._crowd))
        return Streamed(self._history, *self._several("LARGE_STREAM", IN_A_LARGE_CALL, self._crowd))

    def again(self, operation: Operation) -> Call:
        """How to send `operation` once more, alone."""
        call = self._calls.get(operation.key)
        if call is None:
            (leg,) = operation.legs
            assert leg.amount is not None
            call = _call(
                "SubmitTransfer", _request(leg.debit, leg.credit, leg.amount, operation.key)
            )
        return call

    def forget(self, operation: Operation) -> None:
        """`operation` will not be sent again."""
        self._calls.pop(operation.key, None)

    def _single(self) -> Sending:
        return self.pay(*self._two(), self._amount())

    def _bulk(self) -> Sending:
        return Many(self._history, *self._several("BULK", IN_A_CALL, self._accounts))

    def _stream(self) -> Sending:
        return Streamed(self._history, *self._several("STREAM", IN_A_CALL, self._accounts))

    def _group(self) -> Sending:
        key = self._key()
        legs, items = [], []
        for _ in range(self._rng.randint(2, 4)):
            (debit, credit), amount = self._two(), self._amount()
            legs.append(Leg("TRANSFER", debit, credit, amount))
            items.append(
                pb2.GroupedTransfer(
                    kind=transfer_pb2.TRANSFER_KIND_TRANSFER,
                    debit_account_id=debit,
                    credit_account_id=credit,
                    amount=_euros(amount),
                    reference=key,
                )
            )
        request = pb2.SubmitTransferGroupRequest(idempotency_key=key, transfers=items)
        return self._one("GROUP", key, legs, "SubmitTransferGroup", request)

    def _hold(self) -> Sending:
        key, (debit, credit), amount = self._key(), self._two(), self._amount()
        request = pb2.HoldFundsRequest(
            idempotency_key=key,
            debit_account_id=debit,
            credit_account_id=credit,
            amount=_euros(amount),
            reference=key,
        )
        request.expire_time.FromSeconds(int(time.time()) + HOLD_S)
        return self._one("HOLD", key, [Leg("HOLD", debit, credit, amount)], "HoldFunds", request)

    def _capture(self) -> Sending | None:
        if not self._holds:
            return None
        hold, key = self._rng.choice(self._holds), self._key()
        request = pb2.CaptureHoldRequest(idempotency_key=key, hold_id=hold.id, reference=key)
        amount = self._part(hold)
        if amount is not None:
            request.amount.CopyFrom(_euros(amount))
            request.final = self._rng.random() < 0.3
        leg = Leg("CAPTURE", hold.debit, hold.credit, amount)
        return self._one("CAPTURE", key, [leg], "CaptureHold", request, hold.id)

    def _release(self) -> Sending | None:
        if not self._holds:
            return None
        hold, key = self._rng.choice(self._holds), self._key()
        request = pb2.ReleaseHoldRequest(idempotency_key=key, hold_id=hold.id, reference=key)
        leg = Leg("RELEASE", hold.debit, hold.credit)
        return self._one("RELEASE", key, [leg], "ReleaseHold", request, hold.id)

    def _refund(self) -> Sending | None:
        if not self._payments:
            return None
        paid, key = self._rng.choice(self._payments), self._key()
        request = pb2.RefundTransferRequest(idempotency_key=key, transfer_id=paid.id, reference=key)
        amount = self._part(paid)
        if amount is not None:
            request.amount.CopyFrom(_euros(amount))
        leg = Leg("REFUND", paid.credit, paid.debit, amount)
        return self._one("REFUND", key, [leg], "RefundTransfer", request, paid.id)

    def _reversal(self) -> Sending | None:
        if not self._payments:
            return None
        paid, key = self._rng.choice(self._payments), self._key()
        request = pb2.ReverseTransferRequest(
            idempotency_key=key, transfer_id=paid.id, reason="paid twice", reference=key
        )
        leg = Leg("REVERSAL", paid.credit, paid.debit, paid.amount)
        return self._one("REVERSAL", key, [leg], "ReverseTransfer", request, paid.id)

    def _by_pin(self) -> Sending | None:
        return self._approved("BY_PIN")

    def _by_device(self) -> Sending | None:
        return self._approved("BY_DEVICE")

    def _approved(self, command: str) -> Sending | None:
        if self.sealing is None:
            return None
        payer, account = self._rng.choice(self.payers)
        payee = self._rng.choice([one for _, one in self.payers if one != account])
        key, amount = self._key(), ABOVE + self._rng.randint(0, MOST)
        intent = PaymentIntent(
            "TRANSFER", account, payee, amount, "EUR", STEP_UP, key, time.time_ns() // 1_000
        )
        step_up = (
            payer.by_pin(intent, self.sealing) if command == "BY_PIN" else payer.by_device(intent)
        )
        request = payment(
            account, payee, amount, idempotency_key=key, reference=key, step_up=step_up
        )
        leg = Leg("TRANSFER", account, payee, amount)
        return self._one(command, key, [leg], "SubmitTransfer", request, client=STEP_UP)

    def _one(
        self,
        command: str,
        key: str,
        legs: list[Leg],
        method: str,
        request: Any,
        parent: int = 0,
        client: str = PLAIN,
    ) -> One:
        self._calls[key] = call = _call(method, request)
        operation = self._history.begin(Operation(client, key, command, tuple(legs), parent))
        return One(self._history, operation, call)

    def _several(
        self, command: str, count: int, accounts: list[int]
    ) -> tuple[list[Operation], list[pb2.SubmitTransferRequest]]:
        orders = [
            self._order(command, *self._two_of(accounts), self._amount()) for _ in range(count)
        ]
        return [operation for operation, _ in orders], [request for _, request in orders]

    def _order(
        self, command: str, debit: int, credit: int, amount: int
    ) -> tuple[Operation, pb2.SubmitTransferRequest]:
        key = self._key()
        leg = Leg("TRANSFER", debit, credit, amount)
        operation = self._history.begin(Operation(PLAIN, key, command, (leg,)))
        return operation, _request(debit, credit, amount, key)

    def _part(self, of: Told) -> int | None:
        """Now and then more than is left: that is declined."""
        return None if self._rng.random() < 0.2 else self._rng.randint(1, max(1, of.amount))

    def _two(self) -> tuple[int, int]:
        return self._two_of(self._accounts)

    def _two_of(self, accounts: list[int]) -> tuple[int, int]:
        debit, credit = self._rng.sample(accounts, 2)
        return debit, credit

    def _amount(self) -> int:
        return self._rng.randint(1, MOST)

    def _key(self) -> str:
        self._number += 1
        return f"{self.run}-{self._number}"


def _call(method: str, request: Any) -> Call:
    return lambda caller: getattr(caller.transfers, method)(request, timeout=ATTEMPT_S)


def _request(debit: int, credit: int, amount: int, key: str) -> pb2.SubmitTransferRequest:
    return payment(debit, credit, amount, idempotency_key=key, reference=key)


def _euros(amount: int) -> money_pb2.Money:
    return money_pb2.Money(minor_units=amount, currency="EUR")

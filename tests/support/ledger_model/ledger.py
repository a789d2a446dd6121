"""Decides requests one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import assert_never

from tests.support.ledger_model.asked import (
    Asked,
    Change,
    Command,
    Following,
    LimitChange,
    Payment,
    StatusChange,
    Together,
)
from tests.support.ledger_model.books import Books
from tests.support.ledger_model.following import KINDS, find, find_seen, follow
from tests.support.ledger_model.paying import need_grant, pay
from tests.support.ledger_model.told import (
    REMEMBERED,
    AllMoved,
    Changed,
    Declined,
    Moved,
    NoError,
    Refused,
    Told,
)

LEGAL_STATUS_MOVES = {"ACTIVE": ("FROZEN", "CLOSED"), "FROZEN": ("ACTIVE", "CLOSED"), "CLOSED": ()}


@dataclass
class ModelLedger:
    """The books, and what every key led to."""

    books: Books = field(default_factory=Books)
    answers: dict[tuple[str, str], tuple[tuple[object, ...], Told]] = field(default_factory=dict)

    def decide(self, asked: Asked, now_us: int, tables_us: int | None = None) -> Told:
        """The outcome of `asked` at `now_us`, microseconds since 1970; it then has happened.

        `tables_us` is the time by the clock of the tables, where that is another.
        """
        answered = self.answers.get((asked.client, asked.key))
        if answered is not None:
            body, told = answered
            if body != asked.body:
                return self._key_reused(asked)
            assert not isinstance(told, Refused)
            return replace(told, replayed=True)
        told = self._fresh(asked, now_us, now_us if tables_us is None else tables_us)
        if not isinstance(told, Refused):
            self.answers[(asked.client, asked.key)] = (asked.body, told)
        return told

    def _key_reused(self, asked: Asked) -> Refused:
        """Nor does a used key tell that there is a transfer that its client may not see."""
        try:
            if isinstance(asked, Following):
                find_seen(self.books, asked)
        except NoError as no:
            return Refused(no.reason, no.figures)
        return Refused("IDEMPOTENCY_KEY_REUSED", {"key": asked.key})

    def _fresh(self, asked: Asked, now_us: int, tables_us: int) -> Told:
        before = len(self.books.movements)
        try:
            match asked:
                case Payment():
                    return Moved(pay(self.books, asked, now_us))
                case Following():
                    return Moved(follow(self.books, asked, now_us, tables_us))
                case Together():
                    return self._together(asked, now_us)
                case StatusChange() | LimitChange():
                    return self._change(asked)
                case _:
                    assert_never(asked)
        except NoError as no:
            del self.books.movements[before:]
            if no.reason in REMEMBERED and not isinstance(asked, StatusChange | LimitChange):
                return self._declined(asked, no)
            return Refused(no.reason, no.figures)

    def _together(self, asked: Together, now_us: int) -> AllMoved:
        first = len(self.books.movements) + 1
        movements = []
        for place, item in enumerate(asked.items):
            try:
                movements.append(pay(self.books, item, now_us, first, asked.items))
            except NoError as no:
                no.figures["item"] = place
                if no.reason == "INSUFFICIENT_FUNDS":
                    del self.books.movements[first - 1 :]
                    self._tell_shortfall(asked, item, no)
                raise
        return AllMoved(tuple(movements))

    def _tell_shortfall(self, asked: Together, failed: Payment, no: NoError) -> None:
        """What the payer pays by the whole group, what it has before, and the least it lacks.

        What it receives by the group it may spend from then on.
        """
        needed, available = 0, self.books.available(failed.debit)
        left = [available]
        for item in asked.items:
            if item.debit == failed.debit:
                needed += item.amount
                left.append(left[-1] - item.amount)
            elif item.credit == failed.debit:
                left.append(left[-1] + item.amount)
        no.figures.update(needed=needed, available=available, shortfall=-min(left))

    def _declined(self, asked: Command, no: NoError) -> Declined:
        if isinstance(asked, Together):
            asked = asked.items[int(str(no.figures["item"]))]
        if isinstance(asked, Payment):
            return Declined(
                no.reason,
                asked.kind,
                asked.debit,
                asked.credit,
                asked.amount,
                self.books.allows(asked.client, "READ", asked.debit),
                figures=no.figures,
            )
        parent = find(self.books, asked.parent)
        kind = KINDS.get(asked.wish, asked.wish)
        back = kind in ("REFUND", "REVERSAL")
        debit, credit = (parent.credit, parent.debit) if back else (parent.debit, parent.credit)
        return Declined(
            no.reason,
            kind,
            debit,
            credit,
            asked.amount or self.books.remaining(parent) or parent.amount,
            self.books.allows(asked.client, "READ", debit),
            parent=parent.number,
            figures=no.figures,
        )

    def _change(self, asked: Change) -> Changed:
        account = self.books.accounts.get(asked.account)
        if account is None:
            raise NoError("ACCOUNT_NOT_FOUND", id=asked.account)
        action = "SET_STATUS" if isinstance(asked, StatusChange) else "SET_OVERDRAFT"
        need_grant(self.books, asked.client, action, asked.account)
        if asked.expected_revision not in (None, account.revision):
            reads = self.books.allows(asked.client, "READ", asked.account)
            raise NoError(
                "VERSION_MISMATCH",
                account=asked.account,
                expected=asked.expected_revision,
                actual=account.revision if reads else None,
            )
        balance, held = self.books.balance(asked.account), self.books.held(asked.account)
        if isinstance(asked, StatusChange):
            if asked.status not in LEGAL_STATUS_MOVES[account.status]:
                raise NoError("ILLEGAL_STATE")
            if asked.status == "CLOSED" and (balance or held):
                raise NoError("ILLEGAL_STATE")
            account.status = asked.status
        else:
            if account.outside:
                raise NoError("ACCOUNT_KIND_MISMATCH")
            if account.status == "CLOSED" or balance - held < -asked.limit:
                raise NoError("ILLEGAL_STATE")
            account.overdraft = asked.limit
        account.revision += 1
        return Changed(
            asked.account,
            account.status,
            account.revision,
            balance,
            held,
            self.books.version(asked.account),
            account.overdraft,
        )

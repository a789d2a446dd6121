"""What has happened, and what follows from it: nothing here is kept, all is counted again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.support.ledger_model.told import Movement

DAY_US = 24 * 3600 * 1_000_000

HIGHEST, LOWEST = 2**63 - 1, -(2**63)
"""What a balance may be, in minor units."""


@dataclass
class ModelAccount:
    """What is fixed about an account, or changed by hand. `outside` has no floor."""

    currency: str = "EUR"
    outside: bool = False
    overdraft: int = 0
    opened_by: str = ""
    institution: str = "bank"
    status: str = "ACTIVE"
    revision: int = 0


@dataclass(frozen=True)
class ModelGrant:
    """`scope` is OWN, ALL or the name of an institution."""

    client: str
    action: str
    scope: str


@dataclass
class Books:
    """Accounts by number, grants, and everything that was ever posted, in order."""

    accounts: dict[int, ModelAccount] = field(default_factory=dict)
    grants: frozenset[ModelGrant] = frozenset()
    thresholds: dict[str, int] = field(default_factory=dict)
    """From above which amount a payer must approve, by currency; without one, always."""
    first_thresholds: dict[str, int] = field(default_factory=dict)
    """The same for what is paid to somebody for the first time, where there is such a rule."""
    daily_totals: dict[str, int] = field(default_factory=dict)
    """The same for all that an account pays in a day without approval."""
    movements: list[Movement] = field(default_factory=list)

    def balance(self, number: int) -> int:
        """Credits minus debits, in minor units."""
        moving = [one for one in self.movements if one.credit_version is not None]
        came = sum(one.amount for one in moving if one.credit == number)
        return came - sum(one.amount for one in moving if one.debit == number)

    def held(self, number: int) -> int:
        """The sum of what the account's holds still have."""
        holds = (one for one in self.movements if one.kind == "HOLD" and one.debit == number)
        return sum(self.remaining(hold) for hold in holds)

    def available(self, number: int) -> int:
        """What a customer may spend now."""
        return self.balance(number) - self.held(number) + self.accounts[number].overdraft

    def version(self, number: int) -> int:
        """How many entries the account has: holds and releases have none on the credited side."""
        return sum(
            one.debit == number or (one.credit == number and one.credit_version is not None)
            for one in self.movements
        )

    def has_paid(self, payer: int, payee: int, but: int | None) -> bool:
        """Whether money went from one to the other, other than by the group `but`."""
        return any(
            (one.debit, one.credit) == (payer, payee)
            for one in self.movements
            if one.kind in ("TRANSFER", "WITHDRAWAL", "CAPTURE")
            and (but is None or one.group != but)
        )

    def unapproved(self, payer: int, day: int, but: int | None) -> int:
        """What `payer` paid or set aside on `day` as below policy, but by the group `but`."""
        return sum(
            one.amount
            for one in self.movements
            if one.debit == payer
            and one.basis == "BELOW_THRESHOLD"
            and one.created_us // DAY_US == day
            and (but is None or one.group != but)
        )

    def time(self, now_us: int, *numbers: int) -> int:
        """When something on the accounts happens: after all that happened on them before."""
        entries = [
            one.created_us
            for one in self.movements
            for number in numbers
            if one.debit == number or (one.credit == number and one.credit_version is not None)
        ]
        return max(now_us, 1 + max(entries, default=0))

    def children(self, parent: Movement) -> list[Movement]:
        """What followed `parent`, in order."""
        return [one for one in self.movements if one.parent == parent.number]

    def remaining(self, parent: Movement) -> int:
        """What of `parent` is left to be captured, released or refunded."""
        followed = self.children(parent)
        return parent.amount - sum(child.amount + (child.released or 0) for child in followed)

    def state(self, movement: Movement) -> str:
        """What its latest child says, or how it was born."""
        for child in reversed(self.children(movement)):
            assert child.parent_state is not None
            return child.parent_state
        return "HELD" if movement.kind == "HOLD" else "POSTED"

    def allows(self, client: str, action: str, number: int) -> bool:
        """Whether a grant lets `client` do `action` on the account."""
        account = self.accounts[number]
        scopes = {"ALL", account.institution} | ({"OWN"} if account.opened_by == client else set())
        return any(ModelGrant(client, action, scope) in self.grants for scope in scopes)

    def currencies(self) -> Iterable[str]:
        """Those of the accounts."""
        return {account.currency for account in self.accounts.values()}

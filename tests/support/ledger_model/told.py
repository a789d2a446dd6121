"""How a request must come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Movement:
    """A transfer with all its figures. `number` is its place among all that were ever posted.

    `created_us` is the ledger's time; `debit_seen` and `credit_seen` tell whether its client may
    read the account.
    """

    number: int
    kind: str
    debit: int
    credit: int
    amount: int
    currency: str
    client: str
    basis: str
    debit_version: int
    credit_version: int | None
    debit_balance: int
    credit_balance: int | None
    debit_held: int
    debit_seen: bool
    credit_seen: bool
    created_us: int
    reference: str | None = None
    parent: int | None = None
    parent_sequence: int | None = None
    parent_remaining: int | None = None
    parent_state: str | None = None
    released: int | None = None
    expires_us: int | None = None
    group: int | None = None
    """Number of the first transfer of its group."""
    review: str | None = None


@dataclass(frozen=True)
class Moved:
    """Posted, now or when the key was first used."""

    movement: Movement
    replayed: bool = False


@dataclass(frozen=True)
class AllMoved:
    """A whole group was posted."""

    movements: tuple[Movement, ...]
    replayed: bool = False


@dataclass(frozen=True)
class Declined:
    """A refusal that is remembered; of a group it tells of the item that failed."""

    reason: str
    kind: str
    debit: int
    credit: int
    amount: int
    payer_seen: bool
    parent: int | None = None
    figures: Mapping[str, object] = field(default_factory=dict)
    """Those that must be told, or not where they are None; others may be."""
    replayed: bool = False


@dataclass(frozen=True)
class Refused:
    """A refusal that is decided afresh when asked again."""

    reason: str
    figures: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Changed:
    """An account's status or limit was set: how it then stood."""

    account: int
    status: str
    revision: int
    balance: int
    held: int
    version: int
    limit: int
    replayed: bool = False


Told = Moved | AllMoved | Declined | Refused | Changed

REMEMBERED = frozenset(
    {
        "INSUFFICIENT_FUNDS",
        "ACCOUNT_FROZEN",
        "ACCOUNT_CLOSED",
        "EXCEEDS_REMAINING",
        "HOLD_NOT_OPEN",
        "RISK_DECLINED",
    }
)
"""Reasons for which a refusal is Declined; for all others it is Refused."""


class NoError(Exception):
    """Raised by a rule that a request breaks."""

    def __init__(self, reason: str, **figures: object) -> None:
        super().__init__(reason)
        self.reason = reason
        self.figures = figures

"""What an account is and how much of it may be spent."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, NewType

from paycore.domain.money import MAX_MINOR, Currency, Minor

AccountId = NewType("AccountId", int)


class AccountKind(StrEnum):
    """A CUSTOMER account has a floor; an EXTERNAL one is the world outside and has none."""

    CUSTOMER = "CUSTOMER"
    EXTERNAL = "EXTERNAL"


class AccountStatus(StrEnum):
    """ACTIVE: all; FROZEN: no debits; CLOSED: nothing."""

    ACTIVE = "ACTIVE"
    FROZEN = "FROZEN"
    CLOSED = "CLOSED"


class Account(NamedTuple):
    """An account as the ledger holds it; figures in minor units, times in microseconds."""

    id: AccountId
    kind: AccountKind
    status: AccountStatus
    currency: Currency
    owner: str
    institution: str
    opened_by: str
    balance: Minor
    held: Minor
    overdraft_limit: Minor
    version: int
    revision: int
    last_entry_us: int
    created_at_us: int

    @property
    def available(self) -> int:
        """What may be debited now, in minor units; meaningless for EXTERNAL accounts.

        At most MAX_MINOR: no transfer can move more.
        """
        return min(self.balance - self.held + self.overdraft_limit, MAX_MINOR)


LEGAL_STATUS_MOVES: frozenset[tuple[AccountStatus, AccountStatus]] = frozenset(
    {
        (AccountStatus.ACTIVE, AccountStatus.FROZEN),
        (AccountStatus.ACTIVE, AccountStatus.CLOSED),
        (AccountStatus.FROZEN, AccountStatus.ACTIVE),
        (AccountStatus.FROZEN, AccountStatus.CLOSED),
    }
)
"""From which status to which an account may go. CLOSED is final."""

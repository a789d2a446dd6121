"""What watching needs of the ledger.

Every method may raise PaycoreError DATABASE_UNAVAILABLE.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from paycore.domain.accounts import AccountId
from paycore.domain.position import Position
from query_service.readers.records import TransferRecord

LAST_ID = 2**63 - 1
"""Above every id."""


class DeclinePlace(NamedTuple):
    """Where a decline stands in the journal."""

    xid: int
    id: int


class Place(NamedTuple):
    """How far a watch has come: all entries up to a version, all declines up to a place."""

    version: int
    decline: DeclinePlace


class Event(NamedTuple):
    """What a watch sends: a posted transfer, or a decline where it has a place."""

    record: TransferRecord
    decline: DeclinePlace | None

    def version_on(self, account: AccountId) -> int:
        """Which entry of `account` it is."""
        record = self.record
        if record.debit_account == account:
            return record.debit_version
        return record.credit_version


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the ledger holds: of the journal, all transactions below `complete_below`."""

    complete_below: int
    position: Position
    """Of the last journal row of those; with zeros where there is none."""


@dataclass(frozen=True, slots=True)
class AccountSnapshot(Snapshot):
    """The same, with the number of an account's entries."""

    version: int


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of the journal."""

    snapshot: Snapshot
    """With the position of the last row of the stretch, or the one before it where it is empty."""
    full: bool
    """Whether there is more."""
    stalled: bool
    """Whether transactions are under way that hold up what comes after them."""
    written_us: Sequence[int]
    events: Sequence[Event]
    """Of the accounts asked for, in the order of the journal."""


class WatchedLedger(Protocol):
    """The ledger, as it is read by those who watch."""

    async def begin(self) -> Snapshot:
        """Where somebody begins who follows the journal from now on."""
        ...

    async def follow(self, after: Snapshot, accounts: Collection[AccountId]) -> Page:
        """The stretch of the journal that comes after `after`."""
        ...

    async def account_now(self, account: AccountId) -> AccountSnapshot:
        """How many entries there are. Raises PaycoreError ACCOUNT_NOT_FOUND."""
        ...

    async def entries(self, account: AccountId, above: int, up_to: int) -> Sequence[Event]:
        """The entries with these versions, in order: all of them, or LedgerIncompleteError."""
        ...

    async def declines(
        self, account: AccountId, after: DeclinePlace, below: int, most: int
    ) -> Sequence[Event]:
        """The first `most` declines that `account` was to pay, of transactions below `below`."""
        ...

    async def journal_time_us(self, position: Position) -> int | None:
        """When the last journal row up to `position` was written; None before the first."""
        ...

    async def entry_time_us(self, account: AccountId, version: int) -> int:
        """When an entry was posted."""
        ...

    async def first_entry_after(
        self, account: AccountId, above: int, up_to: int, xid: int
    ) -> int | None:
        """The first of these entries whose transaction is above `xid`, which all of them are near:
        fewer than 2**31 transactions away."""
        ...


class LedgerIncompleteError(Exception):
    """Versions of an account have a gap: the ledger is damaged."""

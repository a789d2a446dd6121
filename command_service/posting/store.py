"""The port between the posting engine and the database that holds the ledger."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from paycore.domain.accounts import Account, AccountId
from paycore.domain.past import NO_PAST, PastWanted
from paycore.domain.plan import BatchState, Key, ParentState, Plan, StoredOutcome
from paycore.domain.position import Position
from paycore.domain.transfers import Command, Outcome, TransferId

Decide = Callable[[BatchState], Plan]
"""Pure: decides a batch from the state that was read under lock."""

Wants = Callable[[Sequence[Command], Mapping[AccountId, Account]], PastWanted]
"""Pure: what of the past it takes to decide those commands on those accounts."""


def no_past(commands: Sequence[Command], accounts: Mapping[AccountId, Account]) -> PastWanted:
    """Wants nothing."""
    return NO_PAST


class ConflictError(Exception):
    """Nothing was written, and the same batch decided anew may succeed."""


class LockTimeoutError(ConflictError):
    """Others held rows for longer than the session waits for locks."""


class HeldError(ConflictError):
    """Nothing was written: others hold the rows of `accounts` for longer than a batch waits."""

    def __init__(self, accounts: frozenset[AccountId]) -> None:
        super().__init__(f"{len(accounts)} accounts are held")
        self.accounts = accounts


class UnreachableError(Exception):
    """Nothing was written: the database is gone, or not ready."""


class OutcomeUnknownError(Exception):
    """The commit's outcome could not be learnt within bounds; it may have been written."""


class RejectedError(Exception):
    """The database refused the rows for good: a rule of the tables that the plan broke."""


class LedgerStore(Protocol):
    """What the engine needs of a database."""

    async def post(
        self,
        commands: Sequence[Command],
        journal_id: int,
        decide: Decide,
        wants: Wants = no_past,
    ) -> list[Outcome]:
        """Read under lock, decide, write and commit `commands` in one transaction.

        `wants` is asked once, under the locks, about the commands that have no outcome yet.
        The outcomes are in the order of the commands; those stored now carry their position.
        Raises ConflictError (HeldError where it is known who is in the way), UnreachableError,
        OutcomeUnknownError or RejectedError.
        """
        ...

    async def find_held(self, accounts: Collection[AccountId]) -> frozenset[AccountId]:
        """Those of `accounts` whose rows another transaction holds now. Raises UnreachableError."""
        ...

    async def find(self, client: str, key: str) -> StoredOutcome | None:
        """What `client`'s `key` stored, or None. Raises UnreachableError."""
        ...

    async def find_payers(self, asked: Sequence[tuple[Key, AccountId]]) -> dict[int, Account]:
        """By place in `asked` the account, where there is one and the key has no outcome.

        Raises UnreachableError.
        """
        ...

    async def find_settled(self, client: str, key: str, give_up_s: float) -> StoredOutcome | None:
        """As `find`, but None only when no transaction that ran at the call can still store it.

        Raises UnreachableError when that is not certain by the monotonic time `give_up_s`.
        """
        ...

    async def find_parents(self, ids: Sequence[TransferId]) -> dict[TransferId, ParentState]:
        """Those of the transfers that exist, as they stand now. Raises UnreachableError."""
        ...

    async def find_expired_holds(self, now_us: int, most: int) -> list[TransferId]:
        """Open holds whose time is up at `now_us` and by the database's clock, the oldest first.

        Raises UnreachableError.
        """
        ...

    async def find_by_reference(
        self, client: str, reference: str, most: int
    ) -> list[StoredOutcome]:
        """`client`'s outcomes with `reference`, newest first. Raises UnreachableError."""
        ...


NO_POSITION = Position(0, 0, 0)
"""Stands for the position of a row that was found otherwise than by its key."""

"""Gives commands the keys under which their details are stored, and opens what was stored."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol, TypeVar

from command_service import anew
from command_service.personal.owners import Owned, Owners
from command_service.posting.store import UnreachableError
from command_service.posting.waiting import Ended
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, account_not_found
from paycore.domain.plan import Key
from paycore.domain.sealed import SealedDetails, SubjectKey
from paycore.domain.subjects import belongs_to_debit, subjects_of
from paycore.domain.transfers import (
    ChildCommand,
    Command,
    GroupCommand,
    GroupPosted,
    Outcome,
    Posted,
    Refused,
    TransferCommand,
)
from paycore.runtime.clock import Clock
from paycore.runtime.data_keys import DataKeys
from paycore.runtime.opening import open_rows

KEYS_WITHIN_S = 1.5
"""How long a payment waits at most for the keys of its details, in seconds."""

REVEALED_WITHIN_S = 0.5
"""How long a reply waits at most for the keys of details that it shows, in seconds: what was
decided is told in any case."""

Single = TransferCommand | ChildCommand
One = TypeVar("One", TransferCommand, ChildCommand)
Keys = Mapping[str, SubjectKey | PaycoreError]


class Prepared(NamedTuple):
    """Commands that may be queued, each in its place, and by place the errors of those refused."""

    commands: list[Command]
    refused: Mapping[int, PaycoreError]


class UsedKeys(Protocol):
    """What the ledger remembers."""

    async def find_used(self, keys: Collection[Key]) -> set[Key]:
        """Those of the idempotency keys that have an outcome. Raises UnreachableError."""
        ...


class Vault:
    """The only place that knows both the details and whose they are."""

    def __init__(
        self,
        keys: DataKeys,
        owners: Owners,
        used: UsedKeys,
        clock: Clock,
        ended: Ended | None = None,
    ) -> None:
        """`ended` is told of every command that is not to be queued."""
        self._ended = ended
        self._keys = keys
        self._owners = owners
        self._used = used
        self._clock = clock

    async def prepare(self, commands: Sequence[Command], deadline_s: float) -> Prepared:
        """`commands`, their details with keys; those without details as they are, at no cost.

        One whose keys cannot be had is refused with SIGNER_UNAVAILABLE, unless its idempotency key
        has an outcome already: that is then the answer. `deadline_s` is the caller's, on the
        monotonic clock. Raises PaycoreError DATABASE_UNAVAILABLE.
        """
        ready = list(commands)
        detailed = [place for place, command in enumerate(ready) if _has_details(command)]
        if not detailed:
            return Prepared(ready, {})
        try:
            refused = await self._give_keys(ready, detailed, deadline_s)
        except BaseException:
            self._tell_ended(commands, Refused(anew.deadline_passed()))
            raise
        for place, error in refused.items():
            self._tell_ended([ready[place]], Refused(error))
        return Prepared(ready, refused)

    async def _give_keys(
        self, ready: list[Command], detailed: Sequence[int], deadline_s: float
    ) -> Mapping[int, PaycoreError]:
        """Put commands with keys in the place of those that are `detailed`; who is refused."""
        needed = [single for place in detailed for single in _singles(ready[place])]
        owned = await self._owners.find(
            {side for one in needed for side in (one.debit_account, one.credit_account)}
        )
        subjects = {subject: None for one in needed for subject in _subjects(one, owned) or ()}
        keys = await self._keys.of_subjects(subjects, self._within_s(deadline_s, KEYS_WITHIN_S))
        refused: dict[int, PaycoreError] = {}
        for place in detailed:
            try:
                ready[place] = _with_keys(ready[place], owned, keys)
            except PaycoreError as error:
                refused[place] = error
        if not refused:
            return {}
        used = await self._find_used([ready[place] for place in refused])
        return {
            place: error
            for place, error in refused.items()
            if (ready[place].client, ready[place].key) not in used
        }

    def _tell_ended(self, commands: Iterable[Command], outcome: Refused) -> None:
        if self._ended is not None:
            for command in commands:
                self._ended(command, outcome)

    async def reveal(self, outcomes: Iterable[Outcome], deadline_s: float) -> None:
        """Open what `outcomes` hold sealed, in place; what does not open is told so there."""
        sealed = [
            (posted, posted.details)
            for outcome in outcomes
            for posted in _postings(outcome)
            if isinstance(posted.details, SealedDetails)
        ]
        if not sealed:
            return
        within_s = self._within_s(deadline_s, REVEALED_WITHIN_S)
        opened = await open_rows(self._keys, [row for _, row in sealed], within_s)
        for (posted, _), details in zip(sealed, opened, strict=True):
            posted.details = details

    def _within_s(self, deadline_s: float, at_most_s: float) -> float:
        return min(at_most_s, deadline_s - self._clock.monotonic_s())

    async def _find_used(self, commands: Sequence[Command]) -> set[Key]:
        try:
            return await self._used.find_used([(one.client, one.key) for one in commands])
        except UnreachableError as error:
            raise anew.database_unavailable() from error


def _has_details(command: Command) -> bool:
    if isinstance(command, GroupCommand):
        return any(item.details is not None for item in command.items)
    return command.details is not None


def _singles(command: Command) -> Iterable[Single]:
    of = command.items if isinstance(command, GroupCommand) else (command,)
    return (one for one in of if one.details is not None)


def _postings(outcome: Outcome) -> Sequence[Posted]:
    match outcome:
        case Posted():
            return (outcome,)
        case GroupPosted():
            return outcome.transfers
        case _:
            return ()


def _subjects(one: Single, owned: Mapping[AccountId, Owned]) -> Sequence[str] | None:
    """Whose details those of `one` are; None where an account is unknown."""
    debit, credit = owned.get(one.debit_account), owned.get(one.credit_account)
    if debit is None or credit is None or one.details is None:
        return None
    of_debit = belongs_to_debit(one.kind, debit.kind, credit.kind)
    return subjects_of((debit if of_debit else credit).owner, one.details.user_id)


def _with_keys(command: Command, owned: Mapping[AccountId, Owned], keys: Keys) -> Command:
    """`command`, its details with their keys. Raises PaycoreError where one cannot be had."""
    if isinstance(command, TransferCommand):
        return _keyed(command, owned, keys)
    if isinstance(command, ChildCommand):
        return _keyed(command, owned, keys)
    items = []
    for place, item in enumerate(command.items):
        try:
            items.append(_keyed(item, owned, keys))
        except PaycoreError as error:
            raise replace(error, metadata={**error.metadata, "item": str(place)}) from error
    return command._replace(items=tuple(items))


def _keyed(one: One, owned: Mapping[AccountId, Owned], keys: Keys) -> One:
    if one.details is None:
        return one
    subjects = _subjects(one, owned)
    if subjects is None:
        unknown = one.debit_account if one.debit_account not in owned else one.credit_account
        raise account_not_found(unknown)
    mine = []
    for subject in subjects:
        key = keys[subject]
        if isinstance(key, PaycoreError):
            raise key
        mine.append(key)
    return one._replace(details=replace(one.details, keys=tuple(mine)))

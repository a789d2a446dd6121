"""Commands that wait for their outcomes, and where these go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from command_service.posting import metrics
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError
from paycore.domain.transfers import Command, GroupCommand, Outcome, Refused, accounts_of


class Submission(Protocol):
    """Commands that came together, and where their outcomes go."""

    @property
    def deadline_s(self) -> float:
        """Monotonic time from which on none of them is posted any more."""
        ...

    def answer(self, index: int, outcome: Outcome) -> None:
        """Take the outcome of the command at `index`; called once for each, in any order."""
        ...


class Together:
    """Commands of one call, answered together."""

    __slots__ = ("_missing", "deadline_s", "done", "outcomes")

    def __init__(self, count: int, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self.outcomes: list[Outcome | None] = [None] * count
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._missing = count

    def answer(self, index: int, outcome: Outcome) -> None:
        """Keep the outcome; the last one sets `done`."""
        self.outcomes[index] = outcome
        self._missing -= 1
        if self._missing == 0 and not self.done.done():
            self.done.set_result(None)


Ended = Callable[[Command, Outcome], None]
"""Told what became of a command."""


@dataclass(slots=True)
class Reported:
    """Commands whose outcomes are told to `ended` before they go to `submission`."""

    submission: Submission
    commands: Sequence[Command]
    ended: Ended

    @property
    def deadline_s(self) -> float:
        return self.submission.deadline_s

    def answer(self, index: int, outcome: Outcome) -> None:
        """Report the outcome and pass it on."""
        self.ended(self.commands[index], outcome)
        self.submission.answer(index, outcome)


@dataclass(slots=True)
class Waiting:
    """One command in the queue or in a batch."""

    command: Command
    submission: Submission
    index: int
    accounts: Collection[AccountId]
    """Those that the command may change or depends on."""
    since_s: float
    """When it came into the queue, on the monotonic clock."""
    answered: bool = False

    def answer(self, outcome: Outcome) -> None:
        """Pass the outcome on."""
        self.answered = True
        self.submission.answer(self.index, outcome)


def waiting(commands: Sequence[Command], submission: Submission, now_s: float) -> list[Waiting]:
    """`commands` as they wait for `submission` from `now_s` on, on the monotonic clock."""
    return [
        Waiting(command, submission, index, _accounts(command), now_s)
        for index, command in enumerate(commands)
    ]


def refuse(items: Sequence[Waiting], error: PaycoreError) -> None:
    """Answer all of `items` with `error`."""
    refused = Refused(error)
    metrics.count([refused] * len(items))
    for item in items:
        item.answer(refused)


def needing(
    items: Iterable[Waiting], accounts: Collection[AccountId]
) -> tuple[list[Waiting], list[Waiting]]:
    """Those of `items` that need one of `accounts`, and the others."""
    wanted = set(accounts)
    those: list[Waiting] = []
    others: list[Waiting] = []
    for item in items:
        (others if wanted.isdisjoint(item.accounts) else those).append(item)
    return those, others


def weight(command: Command) -> int:
    """What it takes of the queue and of a batch: as many as it has transfers."""
    return len(command.items) if isinstance(command, GroupCommand) else 1


def _accounts(command: Command) -> Collection[AccountId]:
    # A pair for all but groups: a set for each costs as much as deciding.
    if isinstance(command, GroupCommand):
        return accounts_of(command)
    return command.debit_account, command.credit_account

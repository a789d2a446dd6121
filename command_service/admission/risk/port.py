"""What the judge needs of whoever assesses risk."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol, runtime_checkable

from paycore.domain.errors import PaycoreError
from paycore.domain.transfers import RiskVerdict, TransferCommand

MAX_RULE = 64
"""Characters in the name of a rule."""


class Question(NamedTuple):
    """A payment that is about to be queued and whose key has no outcome yet.

    An item of a group carries the group's key, and its place in it. `posts_until_s`, on the
    monotonic clock, is when its caller gives up: it is taken for posting before that or never.
    """

    command: TransferCommand
    posts_until_s: float
    item: int | None = None


class NoAnswerError(Exception):
    """There is no verdict. The text names the cause in a word, for logs and metrics."""


Answer = RiskVerdict | NoAnswerError | PaycoreError
"""What became of one of many questions: the verdict, or what would have been raised."""


class Ending(StrEnum):
    """What is known of a payment that was judged, once its call has been answered."""

    STORED = "STORED"
    """Its key has an outcome for ever: posted, or declined."""
    NOTHING_STORED = "NOTHING_STORED"
    """This attempt wrote nothing and will not."""
    UNKNOWN = "UNKNOWN"
    """It may be stored, or be so in a moment."""


class RiskAssessor(Protocol):
    """Decides on risk. Keeps no payment from being asked about again."""

    async def assess(self, question: Question, deadline_s: float) -> RiskVerdict:
        """The verdict: with a rule of 1 to MAX_RULE printable characters, but for APPROVE.

        `deadline_s` is on the monotonic clock; the call may be cancelled then. A verdict with a
        ticket is followed by `ended` once what was asked about has ended. Raises NoAnswerError, and
        PaycoreError: CONTENTION where the verdict hangs on payments that are being posted now,
        OVERLOADED where too many of them are.
        """
        ...

    def ended(self, tickets: Collection[int], ending: Ending) -> None:
        """Take note of what became of those let through with `tickets`; more than once does no
        harm."""
        ...


@runtime_checkable
class GroupAssessor(RiskAssessor, Protocol):
    """Decides on all items of a group together, for less than it takes to ask about each."""

    async def assess_group(
        self, questions: Sequence[Question], deadline_s: float
    ) -> Sequence[Answer]:
        """An answer to each of `questions`, which share key and deadline: as `assess` would give
        them one after the other. Raises as `assess` where it holds for all.
        """
        ...


def is_rule(name: str) -> bool:
    """Whether `name` may be the name of a rule."""
    return 0 < len(name) <= MAX_RULE and name.isprintable()

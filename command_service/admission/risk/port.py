"""What the judge needs of whoever assesses risk."""

from __future__ import annotations

from typing import NamedTuple, Protocol

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


class RiskAssessor(Protocol):
    """Decides on risk. Keeps no payment from being asked about again."""

    async def assess(self, question: Question, deadline_s: float) -> RiskVerdict:
        """The verdict: with a rule of 1 to MAX_RULE printable characters, but for APPROVE.

        `deadline_s` is on the monotonic clock; the call may be cancelled then. Raises
        NoAnswerError, and PaycoreError CONTENTION where the verdict hangs on payments that are
        being posted now.
        """
        ...


def is_rule(name: str) -> bool:
    """Whether `name` may be the name of a rule."""
    return 0 < len(name) <= MAX_RULE and name.isprintable()

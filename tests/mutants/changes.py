"""One small change of the code, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One small change of one function, named by what it changes, so that the name stays."""

    where: str
    """Module and function, with dots."""
    was: str
    """The lines that go, without indentation."""
    now: str
    """The lines that come in their place."""
    nth: int = 1
    """Which of the places in the function that are changed so, from the first."""

    @property
    def module(self) -> str:
        """Name of the file, without suffix."""
        return self.where.split(".")[2]

    @property
    def function(self) -> str:
        """Name within the module."""
        return self.where.split(".", 3)[3]


class End(StrEnum):
    """What became of a change."""

    SEEN = "seen"
    """A test failed."""
    TOO_LONG = "too long"
    """The tests went on for many times as long as they take."""
    LIVES = "lives"
    """All tests that run the function passed."""
    UNTESTED = "untested"
    """No test runs the function."""


@dataclass(frozen=True, slots=True)
class Judged:
    """How one change fared."""

    end: End
    by: str = ""
    """The test that saw it, a node id; empty where none did."""
    round: str = ""
    """The last that judged it."""

    @property
    def lives(self) -> bool:
        """Whether no test saw it."""
        return self.end in (End.LIVES, End.UNTESTED)

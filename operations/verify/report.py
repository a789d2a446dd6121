"""What verification looked at and what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from paycore.domain.position import Position

Figures = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Check:
    """One rule: how many `units` were examined, how many broke it, and the first that did."""

    rule: str
    examined: int
    unit: str
    violations: int
    first_violation: Figures | None = None

    @property
    def held(self) -> bool:
        return self.violations == 0


@dataclass(frozen=True, slots=True)
class Total:
    """Count and sum, in minor units, of one currency's transfers in one state."""

    state: str
    currency: str
    items: int
    total: int


@dataclass(frozen=True, slots=True)
class Report:
    """All checks of one run. `position` is up to where the snapshot is complete.

    `since` is the position from which on it was examined, None for the whole ledger.
    """

    position: Position
    checks: tuple[Check, ...]
    totals: tuple[Total, ...]
    skipped: tuple[str, ...] = ()
    """What could not be checked for want of an address, in words."""
    since: Position | None = None
    transfers: int = 0
    """How many transfers were examined."""

    @property
    def held(self) -> bool:
        """Whether no check found anything."""
        return all(check.held for check in self.checks)

    def check(self, rule: str) -> Check:
        """The check of `rule`. Raises KeyError when it was not made."""
        for check in self.checks:
            if check.rule == rule:
                return check
        raise KeyError(rule)

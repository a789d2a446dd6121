"""What the steps of a verification found, added up by rule."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from operations.verify.report import Check, Figures
from operations.verify.rules import RULES


class Finding(NamedTuple):
    """What one step found of one rule."""

    rule: str
    """A name of RULES."""
    examined: int
    violations: int
    first: Figures | None = None


def finding(row: Iterable[object]) -> Finding:
    """A row of one of the queries: finding, examined, violations, first violation as JSON."""
    rule, examined, violations, first = row
    return Finding(
        str(rule),
        int(str(examined)),
        int(str(violations)),
        None if first is None else json.loads(str(first)),
    )


@dataclass(slots=True)
class _Sum:
    examined: int = 0
    violations: int = 0
    first: Figures | None = None
    first_step: int = 0


class Tally:
    """Adds findings up; the first violation of a rule is that of the earliest step."""

    def __init__(self) -> None:
        self._sums: dict[str, _Sum] = {}

    def add(self, step: int, findings: Iterable[Finding]) -> None:
        """Count what step number `step` found."""
        for one in findings:
            total = self._sums.setdefault(one.rule, _Sum())
            total.examined += one.examined
            total.violations += one.violations
            if one.violations and (total.first is None or step < total.first_step):
                total.first, total.first_step = one.first, step

    def checks(self) -> list[Check]:
        """A check for each rule that was looked at, in the order of RULES."""
        return [
            Check(rule.text, found.examined, rule.unit, found.violations, found.first)
            for name, rule in RULES.items()
            if (found := self._sums.get(name)) is not None
        ]

"""Why what lives is harmless: one reason for each, in reasons.toml.

A reason names its change by what is changed, so it stays right when the code around it moves, and
no longer fits when the line itself is another. Groups say what kind of reason it is.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.changes import Change
from tests.mutants.parts import ROOT, MutantsError

REASONS = ROOT / "tests" / "mutants" / "reasons.toml"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one change may live."""

    group: str
    because: str = ""
    """More than the group says; may be empty."""


@dataclass(frozen=True, slots=True)
class Reasons:
    """All that are known."""

    groups: Mapping[str, str]
    """What each group says, by its name."""
    by_change: Mapping[Change, Reason]


def read_reasons(path: Path = REASONS) -> Reasons:
    """What is written at `path`. Raises MutantsError where two fit one change, or no group."""
    written = tomllib.loads(path.read_text(encoding="utf-8"))
    groups: dict[str, str] = written.get("groups", {})
    by_change: dict[Change, Reason] = {}
    for entry in written.get("lives", []):
        change = Change(entry["where"], entry["was"], entry["now"], entry.get("nth", 1))
        if change in by_change:
            raise MutantsError(f"two reasons for one change of {change.where}: {change.now}")
        if entry["group"] not in groups:
            raise MutantsError(f"{entry['group']} is no group of reasons")
        by_change[change] = Reason(entry["group"], entry.get("because", ""))
    return Reasons(groups, by_change)


def as_toml(changes: Iterable[Change], group: str = "") -> str:
    """Entries for reasons.toml, whose group and reason are still to be told."""
    return "\n".join(_entry(change, group) for change in changes)


def _entry(change: Change, group: str) -> str:
    # What JSON says of a string, TOML does too.
    lines = {"where": change.where, "was": change.was, "now": change.now}
    rendered = [f"{key} = {json.dumps(text, ensure_ascii=False)}" for key, text in lines.items()]
    if change.nth != 1:
        rendered.append(f"nth = {change.nth}")
    return "\n".join(("[[lives]]", *rendered, f'group = "{group}"', ""))

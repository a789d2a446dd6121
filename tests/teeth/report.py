"""What a person wants to know of a run: on the screen, and in docs/proof/teeth.md."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from tests.bench.document import save_section
from tests.bench.machine import ROOT, commit, hardware
from tests.teeth.catching import Verdict

DOCUMENT = ROOT / "docs" / "proof" / "teeth.md"
SECTION = "teeth"
LONGEST = 160
"""Bound on what is shown of a failure, in characters."""

_HEAD = ("bug", "test that must catch it", "how it failed", "seconds")


def show(verdicts: Sequence[Verdict], console: Console) -> None:
    """Print the table."""
    table = Table(title="planted bugs", pad_edge=False, show_lines=True)
    for name in _HEAD:
        table.add_column(name, overflow="fold")
    for row in _rows(verdicts):
        table.add_row(*row)
    console.print(table)
    missed = [verdict.bug.name for verdict in verdicts if not verdict.caught]
    said = f"NOT CAUGHT: {', '.join(missed)}" if missed else f"all {len(verdicts)} caught"
    console.print(said, markup=False)


def save(command: str, verdicts: Sequence[Verdict], whole_s: float, took_s: float) -> None:
    """Put it into DOCUMENT."""
    save_section(DOCUMENT, as_markdown(command, verdicts, whole_s, took_s), SECTION)


def as_markdown(command: str, verdicts: Sequence[Verdict], whole_s: float, took_s: float) -> str:
    """The generated part of the document."""
    today = datetime.datetime.now(datetime.UTC).date()
    lines = ["| " + " | ".join(_HEAD) + " |", "| --- | --- | --- | ---: |"]
    for row in _rows(verdicts):
        cells = (cell.replace("|", "\\|") for cell in row)
        lines.append("| " + " | ".join(cells) + " |")
    caught = sum(verdict.caught for verdict in verdicts)
    return "\n".join(
        (
            f"`{command}` on {today}.",
            "",
            f"- commit: {commit()}",
            *(f"- {name}: {value}" for name, value in hardware().items()),
            f"- caught: {caught} of {len(verdicts)}",
            f"- the same tests without any bug: all passed, {whole_s:.0f} s",
            f"- in all: {took_s:.0f} s",
            "",
            *lines,
        )
    )


def _rows(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, str, str, str]]:
    for verdict in verdicts:
        bug, took = f"{verdict.bug.name}: {verdict.bug.what}", f"{verdict.took_s:.0f}"
        for catch in verdict.catches:
            how = catch.how.partition("\n")[0]
            how = how if len(how) <= LONGEST else f"{how[:LONGEST]}..."
            test = catch.test.removeprefix("tests/")
            yield bug, test, how if catch.caught else f"NOT CAUGHT: {how}", took
            bug = took = ""

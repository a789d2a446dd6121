"""One run's results: as JSON, as tables in the terminal, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.figures import Row, Spread, cost_ratio, ratio
from tests.bench.hotspots import Profile, Share
from tests.bench.targets import TARGETS, reached


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured, on what, how and when."""

    command: str
    date: str
    machine: Mapping[str, str]
    run: Mapping[str, str]
    """What the figures depend on besides: sizes, processes, load generator."""
    rows: Sequence[Row]
    profiles: Sequence[Profile] = field(default=())

    def by_key(self) -> dict[str, Row]:
        return {row.key: row for row in self.rows}


Cells = tuple[str, ...]

FIGURES: Cells = (
    "", "per second", "spread", "p50 ms", "p99 ms", "share", "µs each", "by cost", "target",
    "reached",
)  # fmt: skip
SHARES: Cells = ("", "share", "µs each")


def figure_cells(report: Report) -> Iterable[tuple[str, Cells]]:
    """Section and cells of each row."""
    rows = report.by_key()
    for row in report.rows:
        share, verdict, target = ratio(row, rows), reached(row, rows), TARGETS.get(row.key)
        by_cost = cost_ratio(row, rows)
        rate, p50, p99 = row.rate, row.p50_ms, row.p99_ms
        yield (
            row.section,
            (
                row.label,
                f"{rate.median:,.0f} {row.unit}" if rate else "",
                _spread(rate),
                _milliseconds(p50),
                _milliseconds(p99),
                f"{share:.0%} of {row.baseline}" if share is not None else "",
                f"{row.whole_cpu_us:,.0f}" if row.cpu_us else "",
                f"{by_cost:.0%}" if by_cost is not None else "",
                target.text() if target else "",
                "" if verdict is None else "yes" if verdict else "no",
            ),
        )


def cost_cells(report: Report) -> tuple[Cells, list[Cells]]:
    """Header and rows of processor time by part."""
    parts = list(dict.fromkeys(part for row in report.rows for part in row.cpu_us))
    return (
        ("processor µs per transfer or call", *parts),
        [
            (
                row.label,
                *(f"{row.cpu_us[part]:,.0f}" if part in row.cpu_us else "" for part in parts),
            )
            for row in report.rows
            if row.cpu_us
        ],
    )


def share_cells(shares: Iterable[Share]) -> list[Cells]:
    return [(one.name, f"{one.percent:.1f}%", f"{one.each_us:,.1f}") for one in shares]


def notes(report: Report) -> list[str]:
    return [f"{row.label}: {note}" for row in report.rows for note in row.notes]


def show(report: Report, console: Console) -> None:
    """Print everything."""
    facts = Table(show_header=False, box=None)
    for name, value in (*report.machine.items(), *report.run.items()):
        facts.add_row(name, value)
    console.print(facts)
    table = _table("Figures: medians, and spread over the repetitions", FIGURES)
    last = ""
    for section, cells in figure_cells(report):
        if last and section != last:
            table.add_section()
        last = section
        table.add_row(*cells)
    console.print(table)
    header, costs = cost_cells(report)
    table = _table("Where the cores went", header)
    for cells in costs:
        table.add_row(*cells)
    console.print(table)
    for profile in report.profiles:
        for title, shares in (
            (f"One command worker under cProfile: {profile.load}", profile.groups),
            ("Its dearest functions, without what they call", profile.functions),
        ):
            table = _table(title, SHARES)
            for cells in share_cells(shares):
                table.add_row(*cells)
            console.print(table)
    for note in notes(report):
        console.print(note, highlight=False)


def markdown(report: Report) -> str:
    """The same for a document, with command, date and machine."""
    facts = [f"- {name}: {value}" for name, value in (*report.machine.items(), *report.run.items())]
    header, costs = cost_cells(report)
    blocks = [
        f"`{report.command}`, {report.date}.",
        "\n".join(facts),
        markdown_table(FIGURES, [cells for _, cells in figure_cells(report)]),
        markdown_table(header, costs),
    ]
    if found := notes(report):
        blocks.append("\n".join(f"- {note}" for note in found))
    for profile in report.profiles:
        blocks += [
            f"One command worker under cProfile: {profile.load}.",
            markdown_table(SHARES, share_cells(profile.groups)),
            "Its dearest functions, without what they call:",
            markdown_table(SHARES, share_cells(profile.functions)),
        ]
    return "\n\n".join(blocks)


def to_json(report: Report) -> dict[str, Any]:
    """Everything, with the figures of each repetition."""
    rows = report.by_key()
    return {
        "command": report.command,
        "date": report.date,
        "machine": dict(report.machine),
        "run": dict(report.run),
        "rows": [
            {
                "key": row.key,
                "section": str(row.section),
                "label": row.label,
                "unit": row.unit,
                "rate": _json_spread(row.rate),
                "p50_ms": _json_spread(row.p50_ms),
                "p99_ms": _json_spread(row.p99_ms),
                "baseline": row.baseline or None,
                "ratio": ratio(row, rows),
                "cost_ratio": cost_ratio(row, rows),
                "target": asdict(TARGETS[row.key]) if row.key in TARGETS else None,
                "reached": reached(row, rows),
                "cpu_us": row.cpu_us,
                "samples": [asdict(sample) for sample in row.samples],
            }
            for row in report.rows
        ],
        "profiles": [asdict(profile) for profile in report.profiles],
    }


def _table(title: str, header: Cells) -> Table:
    table = Table(title=title, title_justify="left")
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if number else "left")
    return table


def markdown_table(header: Cells, rows: Iterable[Cells]) -> str:
    """A table for a document; the first column to the left, figures to the right."""
    lines = [header, ("---", *["---:"] * (len(header) - 1)), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _spread(spread: Spread | None) -> str:
    return "" if spread is None else f"{spread.low:,.0f} to {spread.high:,.0f}"


def _milliseconds(spread: Spread | None) -> str:
    """Three digits: what is beyond them is noise."""
    if spread is None:
        return ""
    value = spread.median
    decimals = 0 if value == 0 else max(0, 2 - math.floor(math.log10(value)))
    return f"{value:,.{min(decimals, 3)}f}"


def _json_spread(spread: Spread | None) -> dict[str, float] | None:
    return None if spread is None else asdict(spread)

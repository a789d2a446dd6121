"""The run's results as a table in the terminal, as Markdown and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.figures import Latency
from tests.bench.keys.layouts import DESIGNS, Layout
from tests.bench.keys.measure import Result, Slice
from tests.bench.report import Cells, markdown_table

MB = 1_000_000

HEADER: Cells = (
    "", "keys", "rows/s, first 5%", "last 5%", "last / first", "last / single", "look-up p50 ms",
    "batch p99 ms", "WAL bytes/row", "page images/row", "index MB", "bytes/row", "levels",
    "table MB", "refuses for ever",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Phase:
    """The slices of one phase together."""

    rate: float
    """Rows per second: the median slice."""
    find: Latency
    batch: Latency
    wal_bytes: float
    """Per row, as the next."""
    page_images: float

    @classmethod
    def of(cls, slices: Sequence[Slice]) -> Phase:
        rows = sum(one.rows for one in slices)
        return cls(
            statistics.median(one.rows / one.seconds for one in slices),
            Latency.of([seconds for one in slices for seconds in one.find_s]),
            Latency.of([seconds for one in slices for seconds in one.batch_s]),
            sum(one.wal_bytes for one in slices) / rows,
            sum(one.page_images for one in slices) / rows,
        )


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured, on what, how and when."""

    command: str
    date: str
    facts: Mapping[str, str]
    results: Sequence[Result]

    def cells(self) -> Iterable[Cells]:
        """A row of HEADER for each table."""
        single = {
            one.table.shape: Phase.of(one.end).rate
            for one in self.results
            if one.table.layout is Layout.SINGLE
        }
        for one in self.results:
            start, end, sizes, proof = Phase.of(one.start), Phase.of(one.end), one.sizes, one.proof
            beside = single.get(one.table.shape)
            yield (
                DESIGNS[one.table.layout].label,
                one.table.shape,
                f"{start.rate:,.0f}",
                f"{end.rate:,.0f}",
                f"{end.rate / start.rate:.0%}",
                f"{end.rate / beside:.2f}" if beside else "",
                f"{start.find.p50_ms:.1f} to {end.find.p50_ms:.1f}",
                f"{start.batch.p99_ms:.0f} to {end.batch.p99_ms:.0f}",
                f"{start.wal_bytes:,.0f} to {end.wal_bytes:,.0f}",
                f"{start.page_images:.2f} to {end.page_images:.2f}",
                f"{sizes.index / MB:,.0f}",
                f"{sizes.index / proof.rows:.0f}",
                f"{sizes.levels}",
                f"{sizes.table / MB:,.0f}",
                "yes" if proof.refuses_oldest else "no",
            )


def show(report: Report, console: Console) -> None:
    """Print everything."""
    table = Table(title=f"{report.command}, {report.date}", title_justify="left")
    for number, name in enumerate(HEADER):
        table.add_column(name, justify="right" if number else "left")
    for cells in report.cells():
        table.add_row(*cells)
    console.print(table)


def markdown(report: Report) -> str:
    """The same for a document, with command, date and machine."""
    facts = "\n".join(f"- {name}: {value}" for name, value in report.facts.items())
    return "\n\n".join(
        (f"`{report.command}`, {report.date}.", facts, markdown_table(HEADER, report.cells()))
    )


def to_json(report: Report) -> dict[str, Any]:
    """Everything, with the figures of each slice but its single batches."""
    return {
        "command": report.command,
        "date": report.date,
        "facts": dict(report.facts),
        "tables": [
            {
                "layout": one.table.layout,
                "shape": one.table.shape,
                "sizes": asdict(one.sizes),
                "proof": asdict(one.proof),
                **{
                    name: {
                        **asdict(Phase.of(slices)),
                        "slice_rates": [each.rows / each.seconds for each in slices],
                    }
                    for name, slices in (("start", one.start), ("end", one.end))
                },
            }
            for one in report.results
        ],
    }

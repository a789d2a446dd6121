"""What a person wants to know of a run: on the screen, and in docs/proof/fuzz.md."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from rich.console import Console

from deploy.local import ALL_PARTS, Endpoints
from tests.bench.document import save_section
from tests.bench.machine import describe
from tests.support.fuzzing.findings import COLUMNS, Findings, spread
from tests.support.fuzzing.own_lateness import OwnLateness
from tests.support.fuzzing.watch import Counts, Needs, Process, after_warm_up
from tests.support.reports import Rows, as_markdown, show
from tests.support.seeds import SEED_VARIABLE

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "proof" / "fuzz.md"
SECTION = "fuzz"
WIDE = 200


@dataclass(frozen=True)
class Report:
    """All that was measured."""

    findings: Findings
    seen: Mapping[Process, Sequence[Needs]]
    counted: Counts
    own_lateness: OwnLateness
    took_s: float

    def show(self) -> None:
        """Print it."""
        show(Console(width=WIDE), self._tables(), [*self._lines(), *self.findings.distinct_faults])

    async def save(self, endpoints: Endpoints) -> None:
        """Put it into DOCUMENT."""
        machine = await describe(endpoints, ALL_PARTS)
        seed = os.environ.get(SEED_VARIABLE, "")
        command = f"make fuzz CALLS={self.findings.calls} SEED={seed}"
        text = as_markdown(command, machine, self._lines(), self._tables())
        save_section(DOCUMENT, text, SECTION)

    def _tables(self) -> Iterator[tuple[str, Rows]]:
        yield "calls by method", self._methods()
        yield "calls by kind of request", self._requests()
        yield "processes: resident memory in MiB, open files", self._processes()

    def _methods(self) -> Rows:
        findings = self.findings
        yield ("method", "calls", *COLUMNS, "right ok", "p50 ms", "max ms")
        for name, codes in sorted(findings.outcomes.items()):
            took = spread(findings.answered_s[name])
            times = [int(1_000 * took[at]) if took else 0 for at in ("p50", "max")]
            shown = (sum(codes[code] for code in together) for together in COLUMNS.values())
            yield (name, *_figures(codes.total(), *shown, findings.right[name], *times))

    def _requests(self) -> Rows:
        yield ("request", "calls", *COLUMNS)
        for name, codes in sorted(self.findings.sorts.items()):
            shown = (sum(codes[code] for code in together) for together in COLUMNS.values())
            yield (name, *_figures(codes.total(), *shown))

    def _processes(self) -> Rows:
        yield ("process", "first", "after the warm-up", "last", "most", "files then", "files last")
        for (service, pid), needs in sorted(self.seen.items()):
            warm, last = after_warm_up(needs)
            resident = [needs[0], warm, last, max(needs, key=lambda one: one.resident)]
            yield (
                f"{service} {pid}",
                *(f"{one.resident / 2**20:,.1f}" for one in resident),
                str(warm.descriptors),
                str(last.descriptors),
            )

    def _lines(self) -> Iterator[str]:
        findings, counted = self.findings, self.counted
        rate = findings.calls / self.took_s
        yield f"{findings.calls:,} calls in {self.took_s:,.0f} s, {rate:,.0f} a second"
        together = list(chain(*findings.answered_s.values()))
        yield f"answers to calls with ample time, seconds: {_spread(together)}"
        yield f"ends after the caller's deadline, seconds late: {_spread(findings.late_s)}"
        yield f"the calling process's own lateness, seconds: {_spread(self.own_lateness.all_s)}"
        yield f"calls with ample time that had to be made again: {findings.asked_again:,}"
        total = counted.seconds[float("inf")] or 1
        shares = (f"{counted.seconds[le] / total:.2%} in {le:g} s" for le in (0.1, 1.0, 5.0, 10.0))
        yield f"{total:,} calls of ours by the services' own clocks: {', '.join(shares)}"
        yield (
            f"INTERNAL, counted by {counted.processes} processes: {sum(counted.internal.values())};"
            f" made up by the calling process's own core: {findings.own_races:,}"
        )


def _figures(*figures: int) -> Iterator[str]:
    return (f"{figure:,}" if figure else "." for figure in figures)


def _spread(values: Sequence[float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in spread(values).items())

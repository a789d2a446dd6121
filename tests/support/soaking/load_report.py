"""What a person wants to know of open loops and overloads: on the screen, in docs/proof/load.md."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from deploy.local import ALL_PARTS, Endpoints
from tests.bench.document import save_section
from tests.bench.machine import describe
from tests.support.reports import Rows, Tables, as_markdown, show
from tests.support.seeds import SEED_VARIABLE
from tests.support.soaking.open_loop import P99_WITHIN_S
from tests.support.soaking.overload import FLOOD, TIMES, USUAL, WAITED_S, WINDOW_S, Overload
from tests.support.soaking.pace import NOT_SENT, Measured, Seen, spread_ms
from tests.support.soaking.samples import Process
from tests.support.soaking.search import CONFIRMED, Search

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "proof" / "load.md"
WIDE = 140
MIB = 2**20


@dataclass(frozen=True)
class OpenLoopReport:
    """A search, and how long each of its steps was judged."""

    search: Search
    step_s: float

    def show(self) -> None:
        """Print it."""
        show(Console(width=WIDE), self._tables(), self._lines())

    async def save(self, endpoints: Endpoints) -> None:
        """Put it into DOCUMENT."""
        command = f"make open-loop STEP={self.step_s:g} SEED={_seed()}"
        await _save("open-loop", command, endpoints, self._lines(), self._tables())

    def _tables(self) -> Tables:
        yield "rates in the order in which they were tried", self._steps()

    def _steps(self) -> Rows:
        yield ("calls/s", "calls", "p50 ms", "p99 ms", "load's own lateness p99 ms", "borne", "why")
        for one in self.search.steps:
            yield (
                f"{one.rate_per_s:,.0f}{', again' if one.confirming else ''}",
                f"{one.calls:,}",
                f"{one.p50_s * 1_000:,.1f}",
                f"{one.p99_s * 1_000:,.1f}",
                f"{one.late_p99_s * 1_000:,.1f}",
                "yes" if one.borne else "no",
                one.troubles or ("." if one.borne else "too late"),
            )

    def _lines(self) -> Iterator[str]:
        found = self.search.found_per_s
        said = "none of those tried" if found is None else f"{found:,.0f} single payments a second"
        yield (
            f"highest rate with 99% within {P99_WITHIN_S * 1_000:g} ms of when they were due, all"
            f" answered, confirmed {CONFIRMED} times: {said}"
        )
        yield f"each rate was held and judged for {self.step_s:g} s, after a second"


@dataclass(frozen=True)
class OverloadReport:
    """An overload, and what was asked of it."""

    seen: Overload
    as_usual_s: float
    more_memory: int

    def show(self) -> None:
        """Print it."""
        show(Console(width=WIDE), self._tables(), self._lines())

    async def save(self, endpoints: Endpoints) -> None:
        """Put it into DOCUMENT."""
        seconds, rate = self.seen.phases.flood_s, self.seen.rate_per_s
        command = f"make overload SECONDS={seconds:g} RATE={rate:g} SEED={_seed()}"
        await _save("overload", command, endpoints, self._lines(), self._tables())

    def _tables(self) -> Tables:
        yield "latency from the due time, milliseconds", self._latencies()
        yield "the usual load from the flood's end on", self._passing()
        yield "what was not answered with a transfer", self._refusals()
        yield "resident memory, MiB", self._memory()

    def _latencies(self) -> Rows:
        seen, phases = self.seen, self.seen.phases
        calm_s = phases.calm_from_s
        yield ("load", "calls", "not answered", "p50", "p90", "p99", "p99.9", "max")
        parts = (
            (f"{USUAL}, before", seen.usual, 0.0, phases.before_s),
            (f"{USUAL}, during the flood", seen.usual, phases.before_s, calm_s),
            (f"{USUAL}, after it", seen.usual, calm_s, phases.all_s),
            (FLOOD, seen.flood, 0.0, phases.all_s),
        )
        for name, measured, from_s, to_s in parts:
            calls = [one for one in measured.calls if from_s <= one.due_s < to_s]
            yield (name, *_figures(calls))

    def _passing(self) -> Rows:
        yield ("seconds after it", "calls", "not answered", "p50 ms", "p99 ms")
        for one in self.seen.passing():
            yield (
                f"{one.from_s:g} to {one.from_s + WINDOW_S:g}",
                f"{one.calls:,}",
                f"{one.troubled:,}",
                f"{one.p50_s * 1_000:,.0f}",
                f"{one.p99_s * 1_000:,.0f}",
            )

    def _refusals(self) -> Rows:
        yield ("reason", "calls and items of bulk calls", "without a word when to come back")
        reasons: Counter[str] = sum((one.reasons for one in self.seen.heard), Counter())
        silent: Counter[str] = sum((one.without_when for one in self.seen.heard), Counter())
        for reason, times in reasons.most_common():
            yield (reason, f"{times:,}", f"{silent[reason]:,}" if silent[reason] else ".")

    def _memory(self) -> Rows:
        yield ("process", "before", "most", "last")
        seen = self.seen
        last = {one: needs[-1].resident for one, needs in seen.samples.of_service()}
        for (part, pid), (before, most) in peaks(seen).items():
            figures = (before, most, last[part, pid])
            yield (f"{part} {pid}", *(f"{one / MIB:,.1f}" for one in figures))

    def _lines(self) -> Iterator[str]:
        seen, phases = self.seen, self.seen.phases
        posted = sum(len(one.told.posted) for one in seen.heard)
        calls = len(seen.usual.calls) + len(seen.flood.calls)
        yield (
            f"usual: {seen.rate_per_s:g} calls/s; {TIMES} times as many for {phases.flood_s:g} s,"
            f" after {phases.before_s:g} s and before {phases.after_s:g} s without;"
            f" each caller waits for {WAITED_S:g} s"
        )
        yield f"{calls:,} calls, {posted:,} payments acknowledged: none lost, none doubled"
        back_s = seen.back_after_s(self.as_usual_s)
        yield (
            f"latency as usual (99% within {seen.bound_s(self.as_usual_s) * 1_000:,.0f} ms, all"
            f" answered) again: {'not to the end' if back_s is None else f'{back_s:g} s'} after it"
        )
        yield f"memory a process may have beyond what it had: {self.more_memory / MIB:g} MiB"
        unsent = sum(times for (_, why), times in seen.flood.troubles.items() if why == NOT_SENT)
        yield f"calls of the flood that its process could not send in time: {unsent:,}"
        yield f"most calls of the flood under way at once: {seen.flood.most_under_way:,}"
        queued = max(one.queue for one in seen.samples.scrapes)
        yield f"most commands that waited for a batch, as looks every second saw it: {queued:,.0f}"
        yield f"the usual load, {_own_lateness(seen.usual)}"
        yield f"the flood, {_own_lateness(seen.flood)}"


def peaks(seen: Overload) -> Mapping[Process, tuple[int, int]]:
    """Resident bytes of each process of the services: the median before the flood, and the most."""
    found = {}
    for process, needs in seen.samples.of_service():
        before = sorted(one.resident for one in needs if one.at_s < seen.phases.before_s)
        if before:
            most = max(one.resident for one in needs)
            found[process] = (before[len(before) // 2], most)
    return found


def _figures(calls: Sequence[Seen]) -> Iterator[str]:
    took = sorted(one.took_s for one in calls if not one.trouble)
    yield f"{len(calls):,}"
    yield f"{len(calls) - len(took):,}"
    yield from spread_ms(took)


def _own_lateness(measured: Measured) -> str:
    return (
        "sent later than due by its own process: 99% within"
        f" {measured.late(99) * 1_000:,.1f} ms, all within {measured.late(100) * 1_000:,.1f} ms"
    )


def _seed() -> str:
    return os.environ.get(SEED_VARIABLE, "")


async def _save(
    section: str, command: str, endpoints: Endpoints, lines: Iterator[str], tables: Tables
) -> None:
    machine = await describe(endpoints, ALL_PARTS)
    save_section(DOCUMENT, as_markdown(command, machine, lines, tables), section)

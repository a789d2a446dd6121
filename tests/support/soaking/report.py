"""What a person wants to know of a soak: on the screen, and in docs/proof/soak.md."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from deploy.local import ALL_PARTS, Endpoints
from tests.bench.document import save_section
from tests.bench.machine import describe
from tests.support.reports import Rows, as_markdown, show
from tests.support.seeds import SEED_VARIABLE
from tests.support.soaking.chart import draw
from tests.support.soaking.judging import Growth
from tests.support.soaking.pace import spread_ms
from tests.support.soaking.samples import Histogram
from tests.support.soaking.soak import Run

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "proof"
DOCUMENT = FOLDER / "soak.md"
CHART = FOLDER / "soak.png"
SECTION = "soak"
WIDE = 160


@dataclass(frozen=True)
class SoakReport:
    """All that was measured."""

    run: Run
    growth: Sequence[Growth]

    def show(self) -> None:
        """Print it."""
        show(Console(width=WIDE), self._tables(), self._lines())

    async def save(self, endpoints: Endpoints) -> None:
        """Put it into DOCUMENT, and the chart into CHART."""
        machine = await describe(endpoints, ALL_PARTS)
        seed = os.environ.get(SEED_VARIABLE, "")
        minutes = self.run.seconds / 60
        command = f"make soak MINUTES={minutes:g} RATE={self.run.rate_per_s:g} SEED={seed}"
        text = as_markdown(command, machine, self._lines(), self._tables())
        save_section(DOCUMENT, text, SECTION)
        draw(self.run, CHART, f"paycore under a mixed load of {self.run.rate_per_s:g} calls/s")

    def _tables(self) -> Iterator[tuple[str, Rows]]:
        yield "latency from the due time, milliseconds", self._latencies()
        yield "memory and open files, judged after the warm-up", self._growth()
        yield "from the ledger to a sink's readers, seconds", self._sinks()

    def _latencies(self) -> Rows:
        yield ("kind", "calls", "unanswered", "p50", "p90", "p99", "p99.9", "max")
        measured = self.run.measured
        for kind in measured.kinds:
            calls = sum(one.kind == kind for one in measured.calls)
            took = measured.latencies_s(kind)
            yield (kind, f"{calls:,}", _count(calls - len(took)), *spread_ms(took))
        heard = sorted(one.took_s for one in self.run.watched.heard)
        yield ("heard by watchers", f"{len(heard):,}", ".", *spread_ms(heard))

    def _growth(self) -> Rows:
        yield ("process", "figure", "median", "grown by", "may grow by", "flat")
        for one in self.growth:
            allowed = one.bound.share * one.trend.level + one.bound.least
            yield (
                one.process,
                one.figure,
                f"{one.trend.level / one.scale:,.1f}",
                f"{one.trend.growth / one.scale:+,.1f}",
                f"{allowed / one.scale:,.1f}",
                "yes" if one.held else "NO",
            )

    def _sinks(self) -> Rows:
        yield ("sink", "transactions", "half within", "99% within", "all within")
        for sink, lag in sorted(self._over("lag").items()):
            yield (sink, f"{lag.count:,.0f}", *(_bound(lag.within_s(at)) for at in (50, 99, 100)))

    def _over(self, name: str) -> dict[str, Histogram]:
        """What a histogram counted between the first look and the last."""
        first, last = self.run.samples.scrapes[0], self.run.samples.scrapes[-1]
        return {
            key: value.since(getattr(first, name).get(key))
            for key, value in getattr(last, name).items()
        }

    def _lines(self) -> Iterator[str]:
        run, measured, told = self.run, self.run.measured, self.run.mix.told
        calls = len(measured.calls)
        yield f"{calls:,} calls in {measured.took_s:,.0f} s, {run.rate_per_s:g} due each second"
        yield (
            f"{told.commands:,} commands: {len(told.posted):,} posted, {len(told.declined):,}"
            f" declined, {len(told.refused):,} refused, {len(told.unheard):,} unheard of"
        )
        yield f"answered: {measured.answered:,}; not: {measured.troubles.total():,}"
        for (kind, reason), times in measured.troubles.most_common(20):
            yield f"not answered: {kind}, {reason}: {times:,}"
        yield f"most calls under way at once: {measured.most_under_way:,}"
        yield (
            "sent later than due, by this process: 99% within"
            f" {measured.late(99) * 1_000:,.1f} ms, all within {measured.late(100) * 1_000:,.1f} ms"
        )
        yield f"most commands that waited for a batch: {self._most_queued():,.0f}"
        for pool, waits in sorted(self._over("pool_wait").items()):
            if waits.count:
                yield (
                    f"waits for a connection of {pool}: {waits.count:,.0f}, 99% within"
                    f" {_bound(waits.within_s(99))} s, all within {_bound(waits.within_s(100))} s"
                )
        yield f"looks: {len(run.samples.scrapes):,}"
        restarted = {part: times for part, times in run.samples.restarts.items() if times}
        yield f"processes that died: {restarted or 'none'}"
        if run.verified_s is None:
            yield "NOT VERIFIED: see what failed"
        else:
            yield f"verified in {run.verified_s:,.0f} s: nothing lost, doubled, or other than told"

    def _most_queued(self) -> float:
        return max(one.queue for one in self.run.samples.scrapes)


def _count(value: int) -> str:
    return f"{value:,}" if value else "."


def _bound(value: float | None) -> str:
    return "." if value is None else f"{value:g}"

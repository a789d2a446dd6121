"""What a person wants to know of a run: on the screen, and in docs/proof/crash.md."""

from __future__ import annotations

import os
import resource
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from deploy.local import ALL_PARTS, Endpoints
from tests.bench.document import save_section
from tests.bench.machine import describe
from tests.support.crashing.history import History, Verdict
from tests.support.crashing.judging import Judgement
from tests.support.reports import Rows, as_markdown, show
from tests.support.seeds import SEED_VARIABLE

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "proof" / "crash.md"
SECTION = "crash"
WIDE = 120


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


@dataclass(frozen=True)
class Report:
    """All that was done and found."""

    history: History
    judgement: Judgement
    struck: Mapping[tuple[str, str], int]
    crashes: int
    missed: Mapping[str, int]
    postgres_back_s: Sequence[float]
    rounds: int
    longest_s: float
    """Of a pause, or of what was away or slow."""
    took_s: float
    payments: int
    """How many of them were asked for at least."""

    def show(self) -> None:
        """Print it."""
        show(Console(width=WIDE), self._tables(), [*self._lines(), *self.judgement.findings.all])

    async def save(self, endpoints: Endpoints) -> None:
        """Put it into DOCUMENT."""
        machine = await describe(endpoints, ALL_PARTS)
        seed = os.environ.get(SEED_VARIABLE, "")
        command = (
            f"make crash ROUNDS={self.rounds} LONGEST={self.longest_s:g} PAYMENTS={self.payments}"
            f" SEED={seed}"
        )
        text = as_markdown(command, machine, self._lines(), self._tables())
        save_section(DOCUMENT, text, SECTION)

    def _tables(self) -> Iterator[tuple[str, Rows]]:
        yield "kinds of faults", self._kinds()
        yield "faults", self._faults()
        yield "commands", self._commands()
        yield "attempts without an outcome", self._reasons()

    def _kinds(self) -> Rows:
        yield ("kind", "times")
        kinds: Counter[str] = Counter()
        for (kind, _), times in self.struck.items():
            kinds[kind] += times
        for kind, times in kinds.most_common():
            yield (kind, f"{times:,}")

    def _faults(self) -> Rows:
        yield ("kind", "part or link", "times")
        for (kind, name), times in sorted(self.struck.items()):
            yield (kind, name, f"{times:,}")

    def _commands(self) -> Rows:
        counted: dict[str, Counter[str]] = defaultdict(Counter)
        for operation in self.history:
            by = counted[operation.command]
            by["asked"] += 1
            by["attempts"] += len(operation.replies)
            if (posted := operation.posted) is not None:
                by["posted"] += 1
                by["payments"] += len(posted.transfers)
            elif operation.declined:
                by["declined"] += 1
            elif operation.unheard:
                by["unheard"] += 1
            else:
                by["refused"] += 1
        columns = ("asked", "attempts", "posted", "payments", "declined", "refused", "unheard")
        yield ("command", *columns)
        for name, by in sorted(counted.items()):
            yield (name, *(f"{by[column]:,}" if by[column] else "." for column in columns))

    def _reasons(self) -> Rows:
        yield ("reason", "attempts")
        reasons = Counter(
            reply.reason
            for operation in self.history
            for reply in operation.replies
            if reply.verdict in (Verdict.UNHEARD, Verdict.REFUSED)
        )
        for reason, times in reasons.most_common():
            yield (reason, f"{times:,}")

    def _lines(self) -> Iterator[str]:
        judgement, findings = self.judgement, self.judgement.findings
        faults = sum(self.struck.values())
        yield f"crashes, where processes were killed: {self.crashes:,}"
        yield f"other faults (paused, away, slow, cut): {faults - self.crashes:,}"
        yield f"under load: {self.took_s:,.0f} s"
        yield f"acknowledged payments: {self.history.acknowledged:,}"
        yield f"lost: {len(findings.lost)}"
        yield f"doubled: {len(findings.doubled)}"
        yield f"any other breach: {len(findings.other)}"
        yield (
            f"in the ledger: {judgement.transfers:,} transfers and {judgement.declines:,} declines"
            f" of {judgement.operations:,} commands"
        )
        yield (
            f"commands of which no client was told what became of them: {judgement.unheard:,}, all"
            f" looked up, with {judgement.looked_up - judgement.unheard:,} others"
        )
        yield f"answers asked for once more, all of them equal: {judgement.replayed:,}"
        yield (
            f"the bank: {judgement.reads:,} reads of accounts, {judgement.own_reads:,} of one's own"
            f" payment from the query service, {judgement.past_reads} of all accounts at a past"
            f" time, {judgement.snapshots:,} snapshots of the tables"
        )
        yield f"entries of the stream, equal to the journal's: {judgement.stream_entries:,}"
        if self.postgres_back_s:
            back = sorted(self.postgres_back_s)
            yield (
                "from the first login that PostgreSQL took to the first payment decided after it,"
                f" seconds: median {back[len(back) // 2]:.2f}, longest {back[-1]:.2f}, of"
                f" {len(back)}"
            )
        yield (
            f"waiting, asking, reading and comparing took {judgement.took_s:,.0f} s; the test's"
            f" process had {_peak_gib():.1f} GiB at most"
        )
        for name, times in (+Counter(self.missed)).items():
            yield f"{name}: its moment did not come, or nothing went there: {times} times"

"""The measurements in their order, and what runs beside each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack
from enum import StrEnum

from tests.bench.bed import Bed
from tests.bench.echo import echo_servers
from tests.bench.errors import BenchError
from tests.bench.figures import Row, Sample
from tests.bench.generators import Generator
from tests.bench.measurements import Measurement
from tests.bench.measurements.bulk import BulkSubmission
from tests.bench.measurements.fairness import LightClient
from tests.bench.measurements.group import PayrollSubmission
from tests.bench.measurements.layers import LayeredSubmission, layered
from tests.bench.measurements.memory import ResidentMemory
from tests.bench.measurements.pages import HistoryPages
from tests.bench.measurements.projection import (
    CatchingUp,
    LonePayment,
    ProjectionLag,
    Rebuilding,
    wait_until_caught_up,
)
from tests.bench.measurements.raw import RawPosting
from tests.bench.measurements.statements import DeepPages, Statements
from tests.bench.measurements.step_up import Argon2idAlone, by_device, by_pin, open_payers
from tests.bench.measurements.stream import StreamedSubmission
from tests.bench.measurements.unary import EchoCalls, UnarySubmission
from tests.bench.measurements.watching import Watches
from tests.bench.sizes import CALLERS, ECHO_PROCESSES, HOT_ACCOUNTS
from tests.support.command_process import command_process

MOST_CALLERS = max(CALLERS)

Tell = Callable[[str], None]


class Section(StrEnum):
    """What `--only` chooses from."""

    RAW = "raw"
    BULK = "bulk"
    UNARY = "unary"
    PROJECTION = "projection"
    PAGES = "pages"
    WATCH = "watch"
    STREAM = "stream"
    GROUP = "group"
    FAIRNESS = "fairness"
    MEMORY = "memory"
    STEP_UP = "step-up"
    LAYERS = "layers"


ON_ONE_PROCESS = frozenset({Section.FAIRNESS, Section.MEMORY})
OF_SECURITY = frozenset({Section.STEP_UP, Section.LAYERS})
WRITING = frozenset({Section.RAW, Section.BULK, Section.UNARY, Section.STREAM, Section.GROUP})
NEED_READ_SIDE = frozenset({Section.PROJECTION, Section.PAGES, Section.WATCH})


class Suite:
    """Runs the chosen sections on one bed.

    Repetitions take turns: what slows the machine for a while then falls on all rows alike.
    """

    def __init__(
        self, bed: Bed, generator: Generator, chosen: Collection[Section], tell: Tell
    ) -> None:
        """`chosen` must not name a section that needs a part that the stack does not have."""
        self._bed = bed
        self._alone = not bed.has_read_side
        self._generator = generator
        # Bulk figures are shares of the raw ones.
        self._chosen = {*chosen, *([Section.RAW] if Section.BULK in chosen else [])}
        self._tell = tell

    async def run(self) -> list[Row]:
        """All rows. Raises BenchError."""
        rows: list[Row] = []
        if Section.PAGES in self._chosen:
            rows += await self._pages()
        if Section.WATCH in self._chosen:
            rows += await self._repeat([(Section.WATCH, Watches(self._bed))])
        if (WRITING | ON_ONE_PROCESS | OF_SECURITY) & self._chosen:
            rows += await self._writing_alone()
        if {Section.BULK, Section.UNARY} & self._chosen:
            rows += await self._all_on()
        if Section.PROJECTION in self._chosen:
            rows += await self._projection()
        order = list(Section)
        return sorted(rows, key=lambda row: order.index(Section(row.section)))

    async def _pages(self) -> list[Row]:
        bed = self._bed
        wanted = bed.sizes.history - await bed.ledger_size()
        self._tell(f"posting {wanted:,} transfers for the history")
        # Posting goes quicker without it, and it catches up quicker with all at once.
        await asyncio.to_thread(bed.stack.stop_part, "projector")
        await bed.post(max(0, wanted))
        await asyncio.to_thread(bed.stack.start_part, "projector")
        self._tell("waiting until the index has them")
        await wait_until_caught_up(bed)
        chance = random.Random(bed.orders.key())
        rows: list[tuple[Section, Measurement]] = [
            (Section.PAGES, HistoryPages(bed, callers, first=first, chance=chance))
            for callers, first in ((1, True), (4, True), (1, False))
        ]
        rows += [
            (Section.PAGES, DeepPages(bed, chance)),
            (Section.PAGES, Statements(bed, chance)),
        ]
        return await self._repeat(rows)

    async def _writing_alone(self) -> list[Row]:
        bed = self._bed
        rows: list[tuple[Section, Measurement]] = []
        if Section.RAW in self._chosen:
            rows.append((Section.RAW, RawPosting(bed)))
        if Section.BULK in self._chosen:
            rows += [
                (Section.BULK, BulkSubmission(bed, "bulk-alone", disjoint=True, read_side=False)),
                (
                    Section.BULK,
                    BulkSubmission(bed, "bulk-alone-mixed", disjoint=False, read_side=False),
                ),
            ]
        if Section.UNARY in self._chosen and not self._alone:
            rows.append((Section.UNARY, self._unary("unary-64-alone", ", projector off")))
        if Section.STREAM in self._chosen:
            rows.append((Section.STREAM, StreamedSubmission(bed)))
        if Section.GROUP in self._chosen:
            rows.append((Section.GROUP, PayrollSubmission(bed)))
        self._tell("stopping the read side")
        await bed.stop_read_side()
        found = await self._repeat(rows)
        if ON_ONE_PROCESS & self._chosen:
            found += await self._on_one_process()
        if OF_SECURITY & self._chosen:
            found += await self._of_security()
        self._tell("starting the read side again")
        await bed.start_read_side()
        return found

    async def _on_one_process(self) -> list[Row]:
        """Measured on a process of its own, beside those of the stack, which have nothing to do."""
        bed, found = self._bed, []
        log = bed.folder / "command-alone.log"
        async with command_process(bed.endpoints, log) as (target, process):
            if Section.FAIRNESS in self._chosen:
                found += await self._repeat(
                    [
                        (Section.FAIRNESS, LightClient(bed, target, flooded=flooded))
                        for flooded in (False, True)
                    ]
                )
            if Section.MEMORY in self._chosen:
                memory = ResidentMemory(bed, target, process.pid)
                found += await self._repeat([(Section.MEMORY, memory)], repetitions=1)
        return found

    async def _of_security(self) -> list[Row]:
        bed, found = self._bed, []
        if Section.STEP_UP in self._chosen:
            self._tell("enrolling payers")
            async with open_payers(bed) as payers:
                found += await self._repeat(
                    [
                        (Section.STEP_UP, by_device(bed, payers)),
                        (Section.STEP_UP, Argon2idAlone(bed)),
                        (Section.STEP_UP, by_pin(bed, payers)),
                    ]
                )
        if Section.LAYERS in self._chosen:
            found += await self._repeat(
                [(Section.LAYERS, LayeredSubmission(bed, one)) for one in await layered(bed)]
            )
        return found

    def _unary(self, key: str, what: str) -> UnarySubmission:
        calls = self._bed.sizes.unary[MOST_CALLERS]
        return UnarySubmission(self._bed, self._generator, key, MOST_CALLERS, calls, what)

    async def _all_on(self) -> list[Row]:
        bed, sizes = self._bed, self._bed.sizes
        rows: list[tuple[Section, Measurement]] = []
        async with AsyncExitStack() as running:
            if Section.BULK in self._chosen and not self._alone:
                rows += [
                    (Section.BULK, BulkSubmission(bed, "bulk-on", disjoint=True, read_side=True)),
                    (
                        Section.BULK,
                        BulkSubmission(bed, "bulk-on-mixed", disjoint=False, read_side=True),
                    ),
                ]
            if Section.UNARY in self._chosen:
                tls = bed.endpoints.tls["command"]
                servers = [
                    await running.enter_async_context(echo_servers(processes, tls))
                    for processes in ECHO_PROCESSES
                ]
                for callers in CALLERS:
                    rows += [
                        (
                            Section.UNARY,
                            EchoCalls(one, self._generator, callers, sizes.echo[callers]),
                        )
                        for one in servers
                    ]
                    rows.append(
                        (
                            Section.UNARY,
                            UnarySubmission(
                                bed,
                                self._generator,
                                f"unary-{callers}",
                                callers,
                                sizes.unary[callers],
                            ),
                        )
                    )
                hot = UnarySubmission(
                    bed,
                    self._generator,
                    f"hot-{MOST_CALLERS}",
                    MOST_CALLERS,
                    sizes.hot,
                    f", {HOT_ACCOUNTS} hot accounts",
                )
                rows.append((Section.UNARY, hot.on(bed.accounts[:HOT_ACCOUNTS])))
            if self._alone:
                return await self._repeat(rows)
            return await self._repeat(rows, before=lambda: wait_until_caught_up(bed))

    async def _projection(self) -> list[Row]:
        bed = self._bed
        return await self._repeat(
            [
                (Section.PROJECTION, measurement(bed))
                for measurement in (ProjectionLag, LonePayment, CatchingUp, Rebuilding)
            ]
        )

    async def _attempt(
        self, measurement: Measurement, step: Callable[[Measurement], Awaitable[Sample]]
    ) -> Sample:
        """One repetition; a failure costs the row its figures, not the others theirs."""
        try:
            return await step(measurement)
        except BenchError as error:
            self._tell(f"failed: {measurement.label}: {error}")
            return Sample(failure=str(error))

    async def _repeat(
        self,
        rows: Sequence[tuple[Section, Measurement]],
        before: Callable[[], Awaitable[None]] | None = None,
        repetitions: int | None = None,
    ) -> list[Row]:
        """Warm all up, then measure each in turn, `before` coming before each."""
        samples: list[list[Sample]] = [[] for _ in rows]
        for _, measurement in rows:
            self._tell(f"warming up: {measurement.label}")
            await self._attempt(measurement, _warm_up)
        repetitions = repetitions or self._bed.sizes.repetitions
        for repetition in range(1, repetitions + 1):
            for (_, measurement), own in zip(rows, samples, strict=True):
                self._tell(f"{repetition} of {repetitions}: {measurement.label}")
                if before is not None:
                    await before()
                own.append(await self._attempt(measurement, _measure))
        return [
            Row(
                measurement.key,
                section,
                measurement.label,
                measurement.unit,
                measurement.baseline,
                tuple(own),
            )
            for (section, measurement), own in zip(rows, samples, strict=True)
        ]


async def _warm_up(measurement: Measurement) -> Sample:
    await measurement.warm_up()
    return Sample()


async def _measure(measurement: Measurement) -> Sample:
    return await measurement.measure()

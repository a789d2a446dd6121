"""Which generations of the index are written, and how one takes the place of another.

PostgreSQL has the record (projection.generations); the readers' aliases say which one serves. An
index that is on record and not there was lost. One that is there and not on record was left by a
crash, and is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import structlog

from paycore.runtime.clock import Clock
from projector.batch import Document, DocumentKind
from projector.generations import Generation, Generations, State
from projector.sinks.elastic_indices import Indices
from projector.sinks.elastic_layout import DAY_US, Layout, Month, later, month_of, parse
from projector.sinks.elastic_mappings import Difference

MAPPING = "mapping"
EPOCH = "epoch"
"""Reasons of builds that nobody asked for."""

log = structlog.get_logger()


class Roster:
    """The generations of one prefix, for one session of its leader."""

    def __init__(
        self,
        indices: Indices,
        generations: Generations,
        clock: Clock,
        *,
        months_kept: int,
        grace_s: float,
    ) -> None:
        self._indices = indices
        self._generations = generations
        self._clock = clock
        self._months_kept = months_kept
        self._grace_s = grace_s
        self._written: list[Layout] = []
        self._months: dict[int, set[Month]] = {}
        self._making = asyncio.Lock()
        self._told: Month = ""
        self._told_s = 0.0
        self.serving: Generation | None = None
        self.building: Generation | None = None

    async def start(self, epoch: int, told_epoch: int) -> bool:
        """Find out what there is; `told_epoch` is the one that the positions document names.

        Returns False where what serves is empty or lost, so that all begins from nothing: its
        indices are made by `make_serving`.
        """
        on_record = await self._generations.load()
        self.serving = next((one for one in on_record if one.state is State.SERVING), None)
        self.building = next((one for one in on_record if one.state is State.BUILDING), None)
        served = await self._indices.served()
        self._note_record()
        await self._end_switch(served[DocumentKind.ACCOUNT], epoch)
        if self.serving is None:
            await self._adopt(on_record, served, told_epoch)
        assert self.serving is not None
        whole = await self._is_whole(served)
        if self.building is not None and not await self._may_go_on(self.building, epoch):
            await self.give_up("what was built of it cannot be used")
        self._choose(epoch)
        return whole

    async def make_serving(self, epoch: int) -> None:
        """Make those of the serving generation that are absent; it is of `epoch` from now on."""
        assert self.serving is not None
        if self.serving.epoch != epoch:
            await self._generations.switch(None, self.serving.number, epoch)
            self.serving = replace(self.serving, epoch=epoch)
        if self.serving.number == 0:
            # An index of an earlier release is not made again in its old form.
            await self._generations.retire(0, State.RETIRED)
            number = 1 + max(one.number for one in await self._generations.load())
            self.serving = await self._generations.add(
                replace(self.serving, number=number, months=frozenset())
            )
            self._note_record()
        self._choose(epoch)
        layout = self.layout(self.serving)
        months = self._months[self.serving.number] | self._ahead()
        await self._indices.make(layout, months, served=True)
        await self._note(self.serving.number, months)

    async def tend(self) -> None:
        """Make the months to come, and drop what was replaced long enough ago."""
        for generation in (self.serving, self.building):
            if generation is None or generation.number == 0:
                continue
            months = self._months[generation.number]
            lacking = self._ahead() - months
            if lacking:
                await self._make_months(self.layout(generation), lacking)
        await self._drop_leftovers()

    def told(self, oldest: Month) -> None:
        """Readers are told that `oldest` is the first month of which all is there."""
        if oldest != self._told:
            self._told, self._told_s = oldest, self._clock.monotonic_s()

    async def drop_past_retention(self) -> None:
        """Drop the months that readers have been told for the grace not to look for."""
        if not self._told or self._clock.monotonic_s() - self._told_s < self._grace_s:
            return
        oldest = min(self._told, self.oldest_month())
        for generation in (self.serving, self.building):
            if generation is None or generation.number == 0:
                continue
            months = self._months[generation.number]
            await self._drop_months({month for month in months if month < oldest}, generation)

    def layout(self, generation: Generation) -> Layout:
        """The names of a generation's indices."""
        return Layout(self._indices.prefix, generation.number)

    @property
    def written(self) -> Sequence[Layout]:
        """The generations that every document goes to."""
        return self._written

    def oldest_month(self) -> Month:
        """The oldest month whose documents are kept; empty where all are."""
        if not self._months_kept:
            return ""
        return later(month_of(self._clock.now_us()), 1 - self._months_kept)

    def kept(self, documents: Iterable[Document]) -> list[Document]:
        """Those of `documents` that are not past retention."""
        oldest = self.oldest_month()
        if not oldest:
            return list(documents)
        return [
            document
            for document in documents
            if document.kind is DocumentKind.ACCOUNT or month_of(document.created_at_us) >= oldest
        ]

    async def make_room(
        self,
        layout: Layout,
        documents: Iterable[Document],
        generations: Generations | None = None,
    ) -> None:
        """Make the months of `layout` that `documents` need and that are not there yet.

        A task other than the feed's gives its own `generations`.
        """
        if not layout.by_month:
            return
        days = {
            document.created_at_us // DAY_US
            for document in documents
            if document.kind is DocumentKind.TRANSFER
        }
        lacking = {month_of(day * DAY_US) for day in days} - self._months[layout.generation]
        if lacking:
            await self._make_months(layout, lacking, generations)

    async def begin_build(self, reason: str, epoch: int) -> Generation:
        """Put a new generation on record, make its indices, and have it written from now on."""
        if self.building is None:
            self.building = await self._generations.add(
                Generation(
                    await self._next_number(), State.BUILDING, epoch, frozenset(), reason[:256]
                )
            )
            self._note_record()
        number = self.building.number
        await self._indices.make(self.layout(self.building), self._ahead(), served=False)
        await self._note(number, self._ahead())
        self._choose(epoch)
        log.info("building the index anew", generation=number, reason=reason)
        return self.building

    async def serve_build(self, epoch: int) -> None:
        """Let what was built take the place of what serves, which is dropped after the grace."""
        assert self.building is not None
        assert self.serving is not None
        await self._indices.switch(self.layout(self.building))
        await self._generations.switch(self.serving.number, self.building.number, epoch)
        log.info("index switched", old=self.serving.number, new=self.building.number)
        self.serving = replace(self.building, state=State.SERVING, epoch=epoch)
        self.building = None
        self._choose(epoch)

    async def give_up(self, why: str) -> None:
        """End the build without a result."""
        assert self.building is not None
        log.error("index build given up", generation=self.building.number, why=why)
        await self._generations.retire(self.building.number, State.FAILED)
        await self._indices.drop(await self._indices.of(self.building.number))
        self.building = None
        assert self.serving is not None
        self._choose(self.serving.epoch)

    async def difference(self) -> Difference:
        """How far the serving generation is from the mapping files; additions are made at once."""
        assert self.serving is not None
        legacy = self.serving.number == 0
        worst = Difference.REBUILD if legacy else Difference.NONE
        for kind, indices in (await self._indices.served()).items():
            found = await self._indices.compare(kind, indices)
            if found is Difference.REBUILD:
                worst = found
            if found in (Difference.ADDITIONS, Difference.REBUILD):
                await self._indices.bring_up(kind, indices)
        return worst

    async def _next_number(self) -> int:
        """One that neither the record nor an index has; what failed before is forgotten."""
        on_record = await self._generations.load()
        for one in on_record:
            if one.state is State.FAILED:
                await self._indices.drop(await self._indices.of(one.number))
                await self._generations.forget(one.number)
        there = [parse(self._indices.prefix, name) for name in await self._indices.existing()]
        numbers = [named.generation for named in there if named is not None]
        return 1 + max(numbers + [one.number for one in on_record], default=0)

    def _choose(self, epoch: int) -> None:
        """What belongs to another history than the ledger's is left as it is."""
        of = [one for one in (self.serving, self.building) if one is not None]
        self._written = [self.layout(one) for one in of if one.epoch == epoch]

    def _note_record(self) -> None:
        for one in (self.serving, self.building):
            if one is not None:
                self._months.setdefault(one.number, set(one.months))

    def _ahead(self) -> set[Month]:
        now = month_of(self._clock.now_us())
        return {now, later(now, 1)}

    async def _note(
        self, number: int, months: set[Month], generations: Generations | None = None
    ) -> None:
        await (generations or self._generations).note_months(number, months)
        self._months[number] = set(months)

    async def _make_months(
        self, layout: Layout, months: set[Month], generations: Generations | None = None
    ) -> None:
        # The feed and a build may both be about it.
        async with self._making:
            assert self.serving is not None
            served = layout.generation == self.serving.number
            await self._indices.make(layout, months, served=served)
            all_months = self._months[layout.generation] | months
            await self._note(layout.generation, all_months, generations)

    async def _drop_months(self, months: set[Month], generation: Generation) -> None:
        if not months:
            return
        async with self._making:
            # Off the record first: what is dropped then is not missed.
            await self._note(generation.number, self._months[generation.number] - months)
            layout = self.layout(generation)
            await self._indices.drop(layout.index(DocumentKind.TRANSFER, month) for month in months)

    async def _end_switch(self, accounts: set[str], epoch: int) -> None:
        """A crash between the switch of the aliases and its record leaves the latter to do."""
        if self.building is None:
            return
        if self.layout(self.building).index(DocumentKind.ACCOUNT) in accounts:
            old = None if self.serving is None else self.serving.number
            await self._generations.switch(old, self.building.number, epoch)
            self.serving = replace(self.building, state=State.SERVING, epoch=epoch)
            self.building = None

    async def _adopt(
        self,
        on_record: Sequence[Generation],
        served: Mapping[DocumentKind, set[str]],
        epoch: int,
    ) -> None:
        """Put on record what serves, or a first generation where nothing does."""
        named = [
            found
            for indices in served.values()
            for name in indices
            if (found := parse(self._indices.prefix, name)) is not None
        ]
        if named:
            number = max(found.generation for found in named)
            months = frozenset(
                found.month for found in named if found.month and found.generation == number
            )
        elif served[DocumentKind.TRANSFER]:
            number, months = 0, frozenset()
        else:
            number = 1 + max((one.number for one in on_record), default=0)
            months = frozenset()
        self.serving = await self._generations.add(
            Generation(number, State.SERVING, epoch, months, "first")
        )
        self._note_record()

    async def _is_whole(self, served: Mapping[DocumentKind, set[str]]) -> bool:
        assert self.serving is not None
        if self.serving.number == 0:
            return all(served.values())
        months = self._months[self.serving.number]
        wanted = self.layout(self.serving).indices(sorted(months))
        return set(wanted) <= served[DocumentKind.TRANSFER] | served[DocumentKind.ACCOUNT]

    async def _may_go_on(self, building: Generation, epoch: int) -> bool:
        if building.epoch != epoch or not self._months[building.number]:
            # Of another history; or a crash came before its first indices were on record.
            return False
        layout = self.layout(building)
        there = await self._indices.existing()
        wanted = layout.indices(sorted(self._months[building.number]))
        if not set(wanted) <= there:
            return False
        for kind in DocumentKind:
            accounts = layout.index(DocumentKind.ACCOUNT)
            own = {name for name in wanted if (name == accounts) is (kind is DocumentKind.ACCOUNT)}
            if await self._indices.compare(kind, own) is Difference.REBUILD:
                return False
            await self._indices.bring_up(kind, own)
        return True

    async def _drop_leftovers(self) -> None:
        """Drop what was replaced long enough ago, and what is on nobody's record."""
        assert self.serving is not None
        on_record = await self._generations.load()
        for one in on_record:
            due = one.switched_s_ago is None or one.switched_s_ago >= self._grace_s
            if one.state is State.RETIRED and due:
                await self._indices.drop(await self._indices.of(one.number))
                await self._generations.forget(one.number)
                on_record = [other for other in on_record if other is not one]
        known = {one.number for one in on_record if one.state is not State.FAILED}
        await self._indices.drop(
            name
            for name in await self._indices.existing()
            if (named := parse(self._indices.prefix, name)) and named.generation not in known
        )

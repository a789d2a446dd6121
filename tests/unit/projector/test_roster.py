"""The months on record, while the feed, a build and retention change them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from projector.batch import Document, DocumentKind
from projector.generations import Generation, State
from projector.sinks.elastic_generations import Roster
from projector.sinks.elastic_layout import DAY_US, Layout, Month, month_of
from tests.support.clocks import ManualClock
from tests.support.samples import NOW_US

LONG_AGO, LAST, NOW = (month_of(NOW_US - days * DAY_US) for days in (400, 31, 0))


class Record:
    """Notes months as slowly as the test lets it."""

    def __init__(self) -> None:
        self.months: set[Month] = {LONG_AGO, NOW}
        self.noting = asyncio.Event()
        self.may_note = asyncio.Event()

    async def load(self) -> list[Generation]:
        return [Generation(1, State.SERVING, 1, frozenset(self.months), "")]

    async def note_months(self, number: int, months: set[Month]) -> None:
        assert number == 1
        self.noting.set()
        await self.may_note.wait()
        self.months = set(months)


class Indices:
    """Those that were made and not dropped."""

    prefix = "t"

    def __init__(self, months: Iterable[Month]) -> None:
        self.there = set(Layout(self.prefix, 1).indices(sorted(months)))

    async def served(self) -> dict[DocumentKind, set[str]]:
        return {DocumentKind.TRANSFER: set(self.there), DocumentKind.ACCOUNT: set()}

    async def make(self, layout: Layout, months: Iterable[Month], *, served: bool) -> None:
        self.there |= set(layout.indices(sorted(months)))

    async def drop(self, names: Iterable[str]) -> None:
        self.there -= set(names)


async def test_a_month_that_is_made_while_another_is_dropped_stays_on_record() -> None:
    record = Record()
    indices: Any = Indices(record.months)
    generations: Any = record
    roster = Roster(indices, generations, ManualClock(NOW_US / 1e6), months_kept=3, grace_s=0.0)
    assert await roster.start(1, 1)
    assert roster.serving is not None
    layout = roster.layout(roster.serving)
    roster.told(LAST)
    dropping = asyncio.create_task(roster.drop_past_retention())
    await record.noting.wait()
    late = Document(DocumentKind.TRANSFER, 1, 1, b"{}", NOW_US - 31 * DAY_US)
    making = asyncio.create_task(roster.make_room(layout, [late]))
    await asyncio.sleep(0.01)
    record.may_note.set()
    await asyncio.gather(dropping, making)
    assert record.months == {LAST, NOW}
    assert indices.there == set(layout.indices([LAST, NOW]))
    # What is on record is known to be there: nothing is made again.
    record.may_note.clear()
    await roster.make_room(layout, [late])

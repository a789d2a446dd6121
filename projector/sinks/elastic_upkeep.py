"""What the index needs besides the feed: builds, checks, and what operators ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import asyncpg
import structlog
from elasticsearch import NotFoundError

import database
from paycore.domain.position import Position
from paycore.runtime.clock import Clock
from paycore.runtime.untold import tell_of_fault
from projector.batch import Document, DocumentKind
from projector.details import Opener
from projector.errors import DeadLettersFullError, IndexUnequalError, SinkLostError
from projector.generations import Generation, Generations
from projector.loader import Loader
from projector.metrics import DRIFT, DRIFT_CHECKED, DRIFT_REPAIRED
from projector.sinks import Rejection, Session
from projector.sinks.elastic_build import Filling
from projector.sinks.elastic_bulk import VersionType
from projector.sinks.elastic_drift import Comparison, Difference, Report
from projector.sinks.elastic_gaps import Gaps, told
from projector.sinks.elastic_layout import Layout, month_start_us
from projector.sinks.elastic_letters import LetterDesk
from projector.sinks.elastic_requests import AnswerIncompleteError

if TYPE_CHECKING:
    from projector.sinks.elastic import ElasticSink

LOOK_EVERY_S = 0.5
"""How often it is looked for requests and for what is due, in seconds."""

TEND_EVERY_S = 60.0
"""How often months are made and dropped, and what was replaced is dropped, in seconds."""

RETRY_S = 5.0
"""How long a build or a check that could not go on is left alone, in seconds."""

ATTEMPTS = 3
"""How often a fresh index may differ from the ledger, and be mended, before it is given up."""

_POLL_S = 0.02
_QUICK = ["REPLAY", "DISCARD"]
_ALL = [*_QUICK, "REBUILD", "CHECK", "REPAIR"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class UpkeepSettings:
    """How often the index is checked, and how it is filled."""

    check_every_s: float
    """0: only when asked."""
    check_repairs: bool
    settled_s: float
    """What was recorded less than so long ago is left to the next check, in seconds."""
    build_page: int
    """Documents that a build reads at a time."""


class Upkeep:
    """One thing at a time runs beside the feed; what changes the roster happens in a step."""

    def __init__(
        self,
        session: Session,
        sink: ElasticSink,
        opener: Opener,
        settings: UpkeepSettings,
        clock: Clock,
    ) -> None:
        self._session = session
        self._sink = sink
        self._opener = opener
        self._settings = settings
        self._clock = clock
        self._queries: Any = database.load("generations")
        self._letters = LetterDesk(session, sink, opener)
        self._task: asyncio.Task[str] | None = None
        self._gaps: Sequence[Rejection] = ()
        """What the build that ended lacks."""
        self._request_id = 0
        self._look_at_s = 0.0
        self._tend_at_s = clock.monotonic_s() + TEND_EVERY_S
        self._begin_at_s = 0.0
        self._check_at_s = clock.monotonic_s() + settings.check_every_s

    async def step(self, position: Position) -> None:
        """See to what is due. Raises what ends a session."""
        now_s = self._clock.monotonic_s()
        if now_s < self._look_at_s:
            return
        self._look_at_s = now_s + LOOK_EVERY_S
        if self._task is not None and self._task.done():
            await self._end(self._task, position)
            self._task = None
        if now_s >= self._tend_at_s:
            self._tend_at_s = now_s + TEND_EVERY_S
            await self._sink.persistence.request("upkeep", self._sink.roster.tend)
        await self._sink.persistence.request("upkeep", self._sink.roster.drop_past_retention)
        await self._take_requests(position)
        if self._task is None and now_s >= self._begin_at_s:
            self._begin(now_s)

    async def stop(self) -> None:
        """End what runs beside the feed; it goes on in the next session."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            # Failed since it was last looked at: the next session says so only if it fails again.
            tell_of_fault(self._task)

    async def _take_requests(self, position: Position) -> None:
        if self._sink.roster.building is not None and not self._request_id:
            # An earlier session began it; or it began by itself, and answers who asks for one.
            asked = await self._queries.next_request(
                self._session.connection, sink=self._sink.name, actions=["REBUILD"]
            )
            self._request_id = 0 if asked is None else asked["id"]
        while True:
            busy = self._task is not None or self._sink.roster.building is not None
            request = await self._queries.next_request(
                self._session.connection,
                sink=self._sink.name,
                actions=_QUICK if busy else _ALL,
            )
            if request is None:
                return
            match request["action"]:
                case "REPLAY":
                    outcome = await self._letters.replay(request, position)
                case "DISCARD":
                    outcome = await self._letters.discard(request)
                case "REBUILD":
                    self._request_id = request["id"]
                    begin = partial(
                        self._sink.roster.begin_build, request["reason"], self._session.epoch
                    )
                    await self._sink.persistence.request("build", begin)
                    return
                case action:
                    self._request_id = request["id"]
                    self._task = asyncio.create_task(self._check(repair=action == "REPAIR"))
                    return
            await self._answer(request["id"], outcome)

    def _begin(self, now_s: float) -> None:
        building = self._sink.roster.building
        if building is not None:
            self._task = asyncio.create_task(self._build(building))
        elif self._settings.check_every_s and now_s >= self._check_at_s:
            self._task = asyncio.create_task(self._check(repair=self._settings.check_repairs))

    async def _end(self, task: asyncio.Task[str], position: Position) -> None:
        building = self._sink.roster.building
        self._check_at_s = self._clock.monotonic_s() + self._settings.check_every_s
        error = task.exception()
        if error is None:
            outcome = task.result()
            if building is not None:
                outcome = await self._serve(outcome, position)
        elif isinstance(error, IndexUnequalError):
            outcome = await self._give_up(error)
        elif isinstance(error, SinkLostError):
            raise error
        else:
            # It goes on where it was: nothing of it is lost.
            log.error("work beside the feed ended", sink=self._sink.name, cause=repr(type(error)))
            self._begin_at_s = self._clock.monotonic_s() + RETRY_S
            return
        await self._answer(self._request_id, outcome)
        self._request_id = 0

    async def _serve(self, outcome: str, position: Position) -> str:
        try:
            # Before it serves: what it lacks must be known, and there must be room to know it.
            if self._gaps:
                await self._session.dead_letters.save(self._gaps, position)
        except DeadLettersFullError as error:
            return await self._give_up(error)
        await self._sink.serve_build()
        return outcome

    async def _give_up(self, why: Exception) -> str:
        outcome, roster = str(why), self._sink.roster
        await self._sink.persistence.request("build", lambda: roster.give_up(outcome))
        return outcome

    async def _answer(self, request_id: int, outcome: str) -> None:
        if request_id:
            await self._queries.end_request(
                self._session.connection, id=request_id, outcome=outcome
            )

    async def _build(self, building: Generation) -> str:
        layout = self._sink.roster.layout(building)
        gaps = Gaps(self._session.dead_letters.limit)
        self._gaps = ()
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(self._session.connect())
            loader = Loader(connection, self._opener)
            generations = Generations(connection, self._sink.name)
            filling = Filling(
                connection,
                loader,
                generations,
                self._sink.name,
                page_documents=self._settings.build_page,
            )

            async def write(documents: Sequence[Document]) -> None:
                gaps.note(await self._write(layout, documents, generations))

            async def later(keys: frozenset[int]) -> None:
                await self._rewrite_later(connection, keys)

            await filling.run(building, write, later)
            for _ in range(ATTEMPTS):
                report = Report()
                differences = await self._comparison(connection, loader, layout).run(report)
                if report.clean:
                    return f"generation {building.number} serves; {report}"
                if gaps.explain(differences):
                    self._gaps = gaps.among(differences)
                    return f"generation {building.number} serves; equal but for {told(self._gaps)}"
                gaps.note(await self._mend(layout, differences, generations))
        raise IndexUnequalError(f"the fresh index is not as the ledger: {report}")

    async def _check(self, *, repair: bool) -> str:
        serving = self._sink.roster.serving
        assert serving is not None
        layout = self._sink.roster.layout(serving)
        report = Report()
        async with self._session.connect() as connection:
            loader = Loader(connection, self._opener)
            comparison = self._comparison(connection, loader, layout)
            differences = await comparison.run(report)
            if repair and differences:
                await self._mend(layout, differences, Generations(connection, self._sink.name))
                report.repaired = len(differences) - await comparison.still(differences)
                DRIFT_REPAIRED.labels(self._sink.name).inc(report.repaired)
        DRIFT.labels(self._sink.name).set(report.found.total())
        DRIFT_CHECKED.labels(self._sink.name).set(self._clock.now_us() / 1e6)
        tell = log.info if report.clean else log.error
        tell("index checked", sink=self._sink.name, report=str(report))
        return str(report)

    def _comparison(
        self, connection: asyncpg.Connection, loader: Loader, layout: Layout
    ) -> Comparison:
        async def reach() -> None:
            end = await self._queries.journal_end(connection)
            if end is not None:
                wanted = Position(self._session.epoch, end["xid"], end["id"])
                while self._sink.accepted < wanted:  # noqa: ASYNC110  # the feed has its own pace
                    await asyncio.sleep(_POLL_S)
            await self._refresh(layout)

        oldest = self._sink.roster.oldest_month()
        return Comparison(
            connection,
            self._sink.client,
            loader,
            layout,
            month_start_us(oldest) if oldest else 0,
            self._clock.now_us() - int(self._settings.settled_s * 1e6) + 1,
            reach,
        )

    async def _refresh(self, layout: Layout) -> None:
        async def attempt() -> None:
            reply = await self._sink.client.indices.refresh(
                index=[layout.searched(kind) for kind in DocumentKind], allow_no_indices=False
            )
            if reply["_shards"]["failed"]:
                raise AnswerIncompleteError("not every shard was refreshed")

        await self._sink.persistence.request("check refresh", attempt)

    async def _write(
        self, layout: Layout, documents: Sequence[Document], generations: Generations
    ) -> Sequence[Rejection]:
        kept = self._sink.roster.kept(documents)
        roster = self._sink.roster
        await self._sink.persistence.request(
            "build index", lambda: roster.make_room(layout, kept, generations)
        )
        return await self._sink.writer.write(layout, kept)

    async def _mend(
        self, layout: Layout, differences: Sequence[Difference], generations: Generations
    ) -> Sequence[Rejection]:
        """Write what is missing or different, delete what is extra; returns what is refused."""
        due = [one.document for one in differences if one.document is not None]
        await self._sink.persistence.request(
            "build index", lambda: self._sink.roster.make_room(layout, due, generations)
        )
        rejections = await self._sink.writer.write(layout, due, VersionType.SAME_OR_NEWER)
        extra = [one for one in differences if one.document is None]
        for one in extra:
            await self._sink.persistence.request("mend", partial(self._delete, one))
        await self._refresh(layout)
        return rejections

    async def _delete(self, extra: Difference) -> None:
        try:
            await self._sink.client.delete(index=extra.index, id=str(extra.id))
        except NotFoundError:
            return

    async def _rewrite_later(self, connection: asyncpg.Connection, keys: frozenset[int]) -> None:
        if keys:
            await database.load("rewrites").request_rewrites(
                connection, sink=self._sink.name, keys=list(keys)
            )

"""Each sink has a session of its own: what holds one up holds up no other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import asyncpg
import pytest
from aiohttp import web
from prometheus_client import REGISTRY
from pydantic import SecretStr

from paycore.domain.position import Position
from projector.batch import Batch
from projector.errors import UnknownSinkError
from projector.journal_rows import RowDecoder
from projector.readiness import Readiness
from projector.settings import ProjectorSettings
from projector.sinks import Rejection, Session
from projector.sinks.catalogue import MakeSink, Parts, elastic_settings, sinks
from projector.sinks.elastic import ElasticSink
from tests.integration.projector.conftest import Running
from tests.integration.projector.index import TestIndex, until
from tests.integration.projector.ledger import Payment, TestLedger
from tests.support.elastic_proxy import FaultyProxy, Gate, refusal

Start = Callable[..., Running]
OTHER = "other"


def another_index(
    settings: ProjectorSettings, prefix: str
) -> Callable[[Parts], Mapping[str, MakeSink]]:
    """A second search index, as a sink named OTHER."""
    elastic = replace(elastic_settings(settings), name=OTHER, prefix=prefix)

    def make(parts: Parts, readiness: Readiness) -> ElasticSink:
        return ElasticSink(elastic, parts.opener, parts.clock, readiness, parts.chance)

    return lambda parts: {OTHER: lambda readiness: make(parts, readiness)}


@pytest.fixture
def other(index: TestIndex) -> TestIndex:
    return TestIndex(index.client, f"{index.prefix}-{OTHER}")


async def checkpoints(ledger: TestLedger) -> dict[str, int]:
    rows = await ledger.rows("SELECT sink, xid FROM projection.checkpoints")
    return {row["sink"]: row["xid"] for row in rows}


async def reached(ledger: TestLedger, sink: str) -> None:
    last = await ledger.last_xid()

    async def followed() -> bool:
        return (await checkpoints(ledger)).get(sink, 0) >= last

    await until(followed)


async def test_each_sink_gets_everything_and_has_its_own_checkpoint_lock_and_metrics(
    ledger: TestLedger,
    index: TestIndex,
    other: TestIndex,
    settings: ProjectorSettings,
    start: Start,
) -> None:
    running = start(settings, more=another_index(settings, other.prefix))
    accounts = await ledger.open_pair()
    await ledger.post([Payment(*accounts, 1)])
    await reached(ledger, "elasticsearch")
    await reached(ledger, OTHER)
    assert running.projector.ready
    locks = await ledger.rows(
        "SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    assert len(locks) == 2
    for sink in ("elasticsearch", OTHER):
        labels = {"sink": sink}
        assert REGISTRY.get_sample_value("paycore_projector_leader", labels) == 1
        xid = REGISTRY.get_sample_value("paycore_projector_journal_xid", labels)
        assert xid == await ledger.last_xid()
    await running.stop()
    await index.assert_equals(ledger)
    await other.assert_equals(ledger)


@pytest.mark.parametrize("fault", ["hangs", "refuses", "is not there"])
async def test_a_sink_that_stands_still_delays_no_other(
    ledger: TestLedger,
    index: TestIndex,
    other: TestIndex,
    settings: ProjectorSettings,
    start: Start,
    fault: str,
) -> None:
    async with FaultyProxy(settings.elasticsearch_url) as proxy:
        away = settings.model_copy(update={"elasticsearch_url": proxy.url})
        accounts = await ledger.open_pair()
        if fault == "is not there":
            away = settings.model_copy(update={"elasticsearch_url": "http://127.0.0.1:1"})
        elif fault == "hangs":
            proxy.fault = Gate("/_bulk")
        else:

            async def refuse(request: web.Request, _: bytes) -> web.StreamResponse:
                return refusal(503)

            proxy.fault = refuse
        running = start(settings, more=another_index(away, other.prefix))
        await reached(ledger, "elasticsearch")
        for amount in range(1, 4):
            await ledger.post([Payment(*accounts, amount)])
            await asyncio.wait_for(index.await_position(ledger), 20)
        assert running.projector.readiness["elasticsearch"].ready
        if fault != "hangs":
            assert not running.projector.readiness[OTHER].ready
            assert not running.projector.ready
            labels = {"sink": OTHER}
            assert REGISTRY.get_sample_value("paycore_projector_blocked", labels) == 1
        assert OTHER not in await checkpoints(ledger)
        await running.cut()
    start(settings, more=another_index(settings, other.prefix))
    await reached(ledger, OTHER)
    await other.assert_equals(ledger)


async def test_a_defect_in_one_sink_blocks_it_alone(
    ledger: TestLedger, index: TestIndex, settings: ProjectorSettings, start: Start
) -> None:
    def broken(readiness: Readiness) -> ElasticSink:
        raise ZeroDivisionError

    running = start(settings, more=lambda parts: {OTHER: broken})
    accounts = await ledger.open_pair()
    await ledger.post([Payment(*accounts, 1)])
    await index.await_position(ledger)
    assert running.readiness.ready
    assert not running.projector.readiness[OTHER].ready
    assert not running.task.done()
    await index.assert_equals(ledger)


class Notebook:
    """A sink that takes rows of the journal and no documents, and remembers them.

    Its state is in PostgreSQL, written where the lock is held.
    """

    name = "notebook"

    def __init__(self) -> None:
        self._session: Session | None = None

    def decoder(self, connection: asyncpg.Connection) -> RowDecoder:
        return RowDecoder(connection)

    async def start(self, session: Session) -> Position:
        self._session = session
        row = await session.connection.fetchrow(
            "SELECT max(journal_xid) AS xid, max(journal_id) AS id FROM projection.dead_letters"
            " WHERE sink = 'notebook'"
        )
        return Position(session.epoch, row["xid"] or 0, row["id"] or 0)

    async def accept(self, batch: Batch) -> Sequence[Rejection]:  # type: ignore[type-arg]
        # What it is given it keeps as refusals: a table that it may write to.
        return [
            Rejection("transfer", transfer["id"], 1, "noted", str(transfer["amount"]))
            for row in batch.items
            for transfer in (*row.transfers, *row.declines)
        ]

    async def tend(self, position: Position) -> None:
        assert self._session is not None

    async def stop(self) -> None:
        self._session = None


async def test_a_sink_may_take_rows_of_the_journal_in_the_place_of_documents(
    ledger: TestLedger, index: TestIndex, settings: ProjectorSettings, start: Start
) -> None:
    start(settings, more=lambda parts: {"notebook": lambda readiness: Notebook()})
    accounts = await ledger.open_pair()
    posted = await ledger.post([Payment(*accounts, 5), Payment(*accounts, 6)])
    declined = await ledger.decline(Payment(*accounts, 7))
    await reached(ledger, "notebook")
    noted = await ledger.rows(
        "SELECT document_id, reason FROM projection.dead_letters WHERE sink = 'notebook'"
        " ORDER BY document_id"
    )
    assert [(row["document_id"], row["reason"]) for row in noted] == [
        (posted[0], "5"), (posted[1], "6"), (declined, "7"),
    ]  # fmt: skip


async def test_rows_come_in_the_order_of_the_journal_with_what_they_name(
    ledger: TestLedger,
) -> None:
    accounts = await ledger.open_pair()
    posted = await ledger.post([Payment(*accounts, 5), Payment(*accounts, 6)])
    declined = await ledger.decline(Payment(*accounts, 7))
    async with ledger.pool.acquire() as connection:
        journal = await connection.fetch(
            "SELECT journal.*, epoch.epoch FROM ledger.journal, ledger.epoch ORDER BY xid, id"
        )
        rows = (await RowDecoder(connection).decode(journal)).items
    assert [row.position for row in rows] == sorted(row.position for row in rows)
    opened, paid, refused = rows
    assert list(opened.accounts) == list(accounts)
    assert [row["id"] for row in paid.transfers] == posted
    assert [row["id"] for row in refused.declines] == [declined]
    assert paid.created_at_us == journal[1]["created_at_us"]


def test_the_settings_choose_among_the_sinks(settings: ProjectorSettings) -> None:
    parts = Parts(None, None, None, None)  # type: ignore[arg-type]
    for chosen, named in (
        ("elasticsearch", ["elasticsearch"]),
        (" webhooks ,", ["webhooks"]),
        ("", ["elasticsearch", "webhooks", "seal"]),
    ):
        of = settings.model_copy(update={"sinks": chosen})
        assert list(sinks(of, parts)) == named
    everything = settings.model_copy(update={"sinks": ""})
    unsealed = everything.model_copy(update={"seal": False})
    assert list(sinks(unsealed, parts)) == ["elasticsearch", "webhooks"]
    streamed = everything.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1")})
    assert list(sinks(streamed, parts)) == ["elasticsearch", "webhooks", "seal", "stream"]
    with pytest.raises(UnknownSinkError, match="no sink 'nosuch'"):
        sinks(settings.model_copy(update={"sinks": "elasticsearch,nosuch"}), parts)

"""The chain of seals as a sink: no gap, no fork, nothing twice, whatever ends it or leads too."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable

import asyncpg
import pytest
from prometheus_client import REGISTRY

from deploy.local import Endpoints
from operations.verify.chain import ChainReport, verify_chain
from paycore.runtime.clock import SystemClock
from projector.batch import Batch
from projector.dead_letters import DeadLetters
from projector.leadership import connection
from projector.settings import ProjectorSettings
from projector.sinks import Session
from projector.sinks.seal import SealSink
from projector.source import JournalSource
from tests.integration.projector.conftest import Running
from tests.integration.projector.index import TestIndex, until
from tests.integration.projector.ledger import Payment, TestLedger, random_payments
from tests.integration.projector.test_process import launch, variables
from tests.support.databases import OwnDatabase

Start = Callable[..., Running]


@pytest.fixture
def sealing(settings: ProjectorSettings) -> ProjectorSettings:
    return settings.model_copy(update={"sinks": "seal"})


async def all_sealed(ledger: TestLedger) -> bool:
    rows = await ledger.rows("SELECT max(last_xid) AS xid FROM ledger.seals")
    return bool(rows[0]["xid"] == await ledger.last_xid())


async def follow(database: OwnDatabase) -> ChainReport:
    return await verify_chain(database.dsn("audit"))


async def test_each_stretch_of_the_journal_has_a_seal_and_each_row_is_in_one(
    ledger: TestLedger, database: OwnDatabase, sealing: ProjectorSettings, start: Start
) -> None:
    running = start(sealing.model_copy(update={"page_entries": 3}))
    accounts = await ledger.open_pair()
    for amount in range(1, 8):
        await ledger.post([Payment(*accounts, amount), Payment(*accounts, amount)])
        await ledger.decline(Payment(*accounts, amount))
    await ledger.set_status(accounts[0], "FROZEN")
    await until(lambda: all_sealed(ledger))
    report = await follow(database)
    assert report.held
    assert report.check("sealed").examined == 16
    seals = await ledger.rows(
        "SELECT number, journal_rows, previous, hash FROM ledger.seals ORDER BY number"
    )
    assert [seal["number"] for seal in seals] == list(range(1, len(seals) + 1))
    assert sum(seal["journal_rows"] for seal in seals) == 16
    assert report.head is not None
    assert report.head.hash == seals[-1]["hash"]
    assert running.projector.ready
    labels = {"sink": "seal"}
    assert REGISTRY.get_sample_value("paycore_projector_seal_number", labels) == len(seals)


async def test_kill_9_in_the_middle_leaves_no_gap_no_fork_and_seals_nothing_twice(
    endpoints: Endpoints,
    ledger: TestLedger,
    database: OwnDatabase,
    sealing: ProjectorSettings,
    rng: random.Random,
) -> None:
    accounts = await ledger.open_accounts(20)
    environment = variables(sealing, endpoints) | {"PAYCORE_PROJECTOR_PAGE_ENTRIES": "7"}
    for _ in range(3):
        process = await launch(environment)
        begun = await ledger.checkpoint_xid()

        async def moved(begun: int = begun) -> bool:
            await ledger.post(random_payments(rng, accounts, 5))
            return await ledger.checkpoint_xid() > begun

        await until(moved)
        for _ in range(rng.randint(1, 30)):
            await ledger.post(random_payments(rng, accounts, 5))
        process.kill()
        assert await process.wait() == -signal.SIGKILL
    process = await launch(environment)
    await until(lambda: all_sealed(ledger))
    process.terminate()
    assert await process.wait() == 0
    report = await follow(database)
    assert (report.held, report.unsealed_rows) == (True, 0)
    journal = await ledger.rows("SELECT count(*) AS rows FROM ledger.journal")
    assert report.check("sealed").examined == journal[0]["rows"]


async def session(stack_of: list[object], database: OwnDatabase) -> tuple[SealSink, Batch]:  # type: ignore[type-arg]
    """A sink that has begun, without the lock, and what it would take."""
    clock = SystemClock()
    held = connection(database.dsn("projector"), "test")
    reading = connection(database.dsn("projector"), "test")
    stack_of += [held, reading]
    own, read = await held.__aenter__(), await reading.__aenter__()
    sink = SealSink(clock)
    position = await sink.start(
        Session(1, own, DeadLetters(own, "seal", limit=0), lambda: connection("", ""))
    )
    source = JournalSource(
        read, sink.decoder(read), clock, sink="seal", epoch=1, page_entries=4_000
    )
    return sink, await source.read(position)


async def test_of_two_that_lead_at_once_one_seals_and_the_other_fails(
    ledger: TestLedger, database: OwnDatabase
) -> None:
    accounts = await ledger.open_pair()
    await ledger.post([Payment(*accounts, 1)])
    opened: list[object] = []
    first, batch = await session(opened, database)
    second, same = await session(opened, database)
    results = await asyncio.gather(first.accept(batch), second.accept(same), return_exceptions=True)
    failed = [result for result in results if isinstance(result, BaseException)]
    assert len(failed) == 1
    assert isinstance(failed[0], asyncpg.UniqueViolationError)
    await ledger.post([Payment(*accounts, 2)])
    late, more = await session(opened, database)
    await late.accept(more)
    # One that was frozen since before all this wakes up.
    for stale in (first, second):
        assert await _refused(stale, more)
    report = await follow(database)
    assert report.held
    assert report.check("seals").examined == 2
    for one in opened:
        await one.__aexit__(None, None, None)  # type: ignore[attr-defined]


async def _refused(sink: SealSink, batch: Batch) -> bool:  # type: ignore[type-arg]
    try:
        await sink.accept(batch)
    except (asyncpg.UniqueViolationError, asyncpg.ForeignKeyViolationError):
        return True
    return False


async def test_a_second_takes_over_where_the_first_is_gone(
    ledger: TestLedger, database: OwnDatabase, sealing: ProjectorSettings, start: Start
) -> None:
    first = start(sealing)
    accounts = await ledger.open_pair()
    await until(lambda: all_sealed(ledger))
    second = start(sealing)
    await first.cut()
    for amount in range(1, 5):
        await ledger.post([Payment(*accounts, amount)])
    await until(lambda: all_sealed(ledger))
    assert second.projector.ready
    assert (await follow(database)).held


async def test_an_end_that_was_cut_off_stops_the_sealing_loudly(
    ledger: TestLedger, database: OwnDatabase, sealing: ProjectorSettings, start: Start
) -> None:
    running = start(sealing)
    accounts = await ledger.open_pair()
    await until(lambda: all_sealed(ledger))
    await running.stop()
    async with ledger.pool.acquire() as owner:
        await owner.execute("ALTER TABLE ledger.seals DISABLE TRIGGER append_only")
        await owner.execute("DELETE FROM ledger.seals")
        await owner.execute("ALTER TABLE ledger.seals ENABLE ALWAYS TRIGGER append_only")
    await ledger.post([Payment(*accounts, 1)])
    blocked = start(sealing)
    sessions = {"sink": "seal", "end": "ChainCutError"}
    before = REGISTRY.get_sample_value("paycore_projector_sessions_total", sessions) or 0

    async def refused() -> bool:
        name = "paycore_projector_sessions_total"
        return (REGISTRY.get_sample_value(name, sessions) or 0) > before

    await until(refused)
    assert not blocked.projector.ready
    assert await ledger.rows("SELECT 1 FROM ledger.seals") == []
    # Somebody looked into it and says: from here on.
    await ledger.execute("DELETE FROM projection.checkpoints WHERE sink = 'seal'")
    await until(lambda: all_sealed(ledger))
    assert (await follow(database)).held


async def test_another_epoch_is_a_segment_that_follows_on_the_one_before(
    ledger: TestLedger, database: OwnDatabase, sealing: ProjectorSettings, start: Start
) -> None:
    running = start(sealing)
    accounts = await ledger.open_pair()
    await until(lambda: all_sealed(ledger))
    await running.stop()
    await ledger.post([Payment(*accounts, 1)])
    await ledger.execute("UPDATE ledger.epoch SET epoch = 2")
    start(sealing)
    await ledger.post([Payment(*accounts, 2)])
    await until(lambda: all_sealed(ledger))
    report = await follow(database)
    assert report.held
    assert [epoch for epoch, _ in report.segments] == [1, 2]
    assert report.check("sealed").examined == 3


async def test_sealing_goes_beside_the_index(
    ledger: TestLedger,
    index: TestIndex,
    database: OwnDatabase,
    settings: ProjectorSettings,
    start: Start,
) -> None:
    start(settings.model_copy(update={"sinks": "elasticsearch,seal"}))
    accounts = await ledger.open_pair()
    await ledger.post([Payment(*accounts, 1)])
    await until(lambda: all_sealed(ledger))
    await index.await_told_of(ledger)
    await index.assert_equals(ledger)
    assert (await follow(database)).held

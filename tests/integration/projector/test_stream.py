"""The stream of events as a sink: what it holds is the ledger's, each once and in order, whatever
befalls it, Redis, or another leader."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections.abc import Callable
from typing import Any

import pytest
import redis.asyncio as redis
from prometheus_client import REGISTRY
from pydantic import SecretStr

from deploy.local import Endpoints, LocalStack
from paycore.client.stream import EARLIEST, TransferStream
from paycore.client.stream_errors import StreamReplacedError
from paycore.domain.stream import DEFAULT_PREFIX, FIELDS, EntryId, epoch_key, stream_key
from projector.settings import ProjectorSettings
from projector.sinks.stream_redis import Line, StreamWriter
from tests.integration.projector.conftest import Running
from tests.integration.projector.index import TestIndex, until
from tests.integration.projector.ledger import Payment, TestLedger, random_payments
from tests.integration.projector.streams import assert_equals, entries_of, streamed, write
from tests.integration.projector.test_process import launch, variables
from tests.support.endings import assert_ends_anywhere
from tests.support.tcp_proxy import Link, TcpProxy

Start = Callable[..., Running]
KEY = stream_key(DEFAULT_PREFIX, 1)


async def test_each_transfer_and_decline_is_an_event_in_the_journals_order(
    ledger: TestLedger,
    streaming: ProjectorSettings,
    own_redis: LocalStack,
    start: Start,
    rng: random.Random,
    projected: Callable[[], Any],
) -> None:
    running = start(streaming.model_copy(update={"page_entries": 11}))
    await write(ledger, rng, 30)
    await until(projected)
    await assert_equals(ledger, await streamed(own_redis))
    assert running.projector.ready


async def test_a_transaction_with_several_journal_rows_over_several_pages(
    ledger: TestLedger,
    streaming: ProjectorSettings,
    own_redis: LocalStack,
    start: Start,
    projected: Callable[[], Any],
) -> None:
    accounts = await ledger.open_pair()
    posted = await ledger.post([Payment(*accounts, amount) for amount in range(1, 7)])
    # As no service writes it: the same transaction, in three rows.
    async with ledger.pool.acquire() as owner, owner.transaction():
        await owner.execute("ALTER TABLE ledger.journal DISABLE TRIGGER append_only")
        await owner.execute(
            "UPDATE ledger.journal SET transfers = $2 WHERE $1 = ANY (transfers)",
            posted[0],
            posted[:2],
        )
        await owner.execute(
            "INSERT INTO ledger.journal (xid, id, created_at_us, transfers)"
            " SELECT xid, id + more.after, created_at_us, more.items FROM ledger.journal,"
            " (VALUES (1, $2::bigint[]), (2, $3::bigint[])) AS more (after, items)"
            " WHERE $1 = ANY (transfers)",
            posted[0],
            posted[2:5],
            posted[5:],
        )
        await owner.execute("ALTER TABLE ledger.journal ENABLE ALWAYS TRIGGER append_only")
    start(streaming.model_copy(update={"page_entries": 1}))
    await until(projected)
    events = await streamed(own_redis)
    assert [event.id for event in events] == posted
    assert [EntryId.parse(event.entry).ordinal for event in events] == [1, 2, 3, 4, 5, 6]
    await assert_equals(ledger, events)


async def test_kill_9_in_the_middle_of_the_load_loses_and_doubles_nothing(
    endpoints: Endpoints,
    ledger: TestLedger,
    streaming: ProjectorSettings,
    own_redis: LocalStack,
    rng: random.Random,
    projected: Callable[[], Any],
) -> None:
    accounts = await ledger.open_accounts(20)
    environment = variables(streaming, endpoints) | {
        "PAYCORE_PROJECTOR_PAGE_ENTRIES": "25",
        "PAYCORE_PROJECTOR_REDIS_URL": own_redis.endpoints.projector_redis_url,
    }
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
    await until(projected)
    process.terminate()
    assert await process.wait() == 0
    await assert_equals(ledger, await streamed(own_redis))


async def test_what_is_there_is_not_added_again_where_the_checkpoint_is_behind(
    ledger: TestLedger,
    streaming: ProjectorSettings,
    own_redis: LocalStack,
    start: Start,
    rng: random.Random,
    projected: Callable[[], Any],
) -> None:
    running = start(streaming)
    await write(ledger, rng, 10)
    await until(projected)
    await running.stop()
    # As if it had died after adding, before the checkpoint: at any place of the journal.
    for row in rng.sample(await ledger.rows("SELECT xid, id FROM ledger.journal"), 4):
        await ledger.execute(
            "UPDATE projection.checkpoints SET xid = $1, journal_id = $2", row["xid"], row["id"]
        )
        running = start(streaming)
        await ledger.post([Payment(*await ledger.open_pair(), 5)])
        await until(projected)
        await running.stop()
        await assert_equals(ledger, await streamed(own_redis))


class Forgetful(TcpProxy):
    """Cuts the connection in the place of the next replies to scripts, which were carried out."""

    losing = 0

    def new_link(self) -> Link:
        return _Lossy(self)


class _Lossy(Link):
    def __init__(self, proxy: Forgetful) -> None:
        self._proxy = proxy
        self._asked = False

    def lets_ask(self, chunk: bytes) -> bool:
        self._asked = self._asked or b"EVALSHA" in chunk
        return True

    def lets_answer(self, _: bytes) -> bool:
        if self._asked and self._proxy.losing:
            self._proxy.losing -= 1
            return False
        self._asked = False
        return True


async def test_replies_that_are_lost_double_nothing(
    ledger: TestLedger,
    streaming: ProjectorSettings,
    own_redis: LocalStack,
    start: Start,
    rng: random.Random,
    projected: Callable[[], Any],
) -> None:
    url = own_redis.endpoints.projector_redis_url
    place = url.rpartition("@")[2].partition("/")[0]
    host, _, port = place.partition(":")
    async with Forgetful(host, int(port)) as proxy:
        away = SecretStr(url.replace(f":{port}/", f":{proxy.port}/"))
        running = start(streaming.model_copy(update={"redis_url": away}))
        await write(ledger, rng, 5)
        await until(projected)
        proxy.losing = 3
        await write(ledger, rng, 5)
        await until(projected)
        assert proxy.losing == 0
        await running.stop()
    await assert_equals(ledger, await streamed(own_redis))


async def test_another_leader_that_was_frozen_adds_nothing(
    ledger: TestLedger,
    streaming: ProjectorSettings,
    own_redis: LocalStack,
    start: Start,
    rng: random.Random,
    projected: Callable[[], Any],
) -> None:
    start(streaming)
    await write(ledger, rng, 3)
    await until(projected)
    writer = StreamWriter(own_redis.endpoints.projector_redis_url, DEFAULT_PREFIX, entries=1_000)
    ends = await writer.open(1, 1)
    assert ends is not None
    earlier = EntryId.parse((await entries_of(ledger))[0])
    for expected in (None, earlier, EntryId(ends.xid, ends.ordinal + 1)):
        event = EntryId(ends.xid + 9, 1)
        line = Line(event, json.dumps([str(event), *["x"] * len(FIELDS)]))
        added = await writer.add(expected, [line])
        assert added == (False, ends)
    await writer.close()
    await assert_equals(ledger, await streamed(own_redis))


def lost(filled: str) -> float:
    labels = {"sink": "stream", "filled": filled}
    return REGISTRY.get_sample_value("paycore_projector_stream_lost_total", labels) or 0.0


@pytest.mark.parametrize("how", ["emptied", "restarted", "set back"])
async def test_a_stream_that_lost_events_is_filled_again(
    ledger: TestLedger,
    streaming: ProjectorSettings,
    own_redis: LocalStack,
    admin: redis.Redis,
    start: Start,
    rng: random.Random,
    projected: Callable[[], Any],
    how: str,
) -> None:
    start(streaming)
    await write(ledger, rng, 10)
    await until(projected)
    before = lost("whole")
    if how == "restarted":
        await asyncio.to_thread(own_redis.restart_part, "redis")
    elif how == "emptied":
        await admin.flushall()
    else:
        # A copy of earlier, as a replica or a file of yesterday has it.
        entries: Any = await admin.xrange(KEY)
        await admin.delete(KEY)
        for entry, fields in entries[:12]:
            await admin.xadd(KEY, fields, id=entry)

    async def filled() -> bool:
        return lost("whole") > before

    await until(filled)
    await write(ledger, rng, 3)
    await until(projected)
    await assert_equals(ledger, await streamed(own_redis))


async def test_readers_find_a_stream_that_was_emptied_before_its_first_event(
    ledger: TestLedger,
    streaming: ProjectorSettings,
    own_redis: LocalStack,
    admin: redis.Redis,
    start: Start,
    rng: random.Random,
    projected: Callable[[], Any],
) -> None:
    start(streaming)
    await told(admin)
    await admin.flushall()
    # Nobody writes: it is looked for.
    await told(admin)
    await write(ledger, rng, 3)
    await until(projected)
    await assert_equals(ledger, await streamed(own_redis))


@pytest.mark.parametrize("before", [None, 1, 2, 3])
async def test_who_adds_tells_readers_of_the_epoch_where_nothing_or_an_older_one_does(
    own_redis: LocalStack, admin: redis.Redis, before: int | None
) -> None:
    writer = StreamWriter(own_redis.endpoints.projector_redis_url, DEFAULT_PREFIX, entries=1_000)
    assert await writer.open(2, None) is None
    await admin.flushall()
    if before is not None:
        await admin.set(epoch_key(DEFAULT_PREFIX), before)
    event = EntryId(7, 1)
    added = await writer.add(None, [Line(event, json.dumps([str(event), *["x"] * len(FIELDS)]))])
    assert added == (True, event)
    assert await admin.get(epoch_key(DEFAULT_PREFIX)) == str(max(2, before or 0))
    await writer.close()


async def test_who_waits_for_the_stream_can_always_be_ended(
    own_redis: LocalStack, admin: redis.Redis
) -> None:
    endpoints = own_redis.endpoints
    writer = StreamWriter(endpoints.projector_redis_url, DEFAULT_PREFIX, entries=1_000)
    await writer.open(1, None)
    async with await TransferStream.open(endpoints.stream_url) as stream:
        await assert_ends_anywhere(writer.look)
        await assert_ends_anywhere(lambda: stream.create_group("readers", EARLIEST))
    await writer.close()


async def told(admin: redis.Redis) -> None:
    """Wait until readers are told of the first epoch."""

    async def there() -> bool:
        return bool(await admin.get(epoch_key(DEFAULT_PREFIX)) == "1")

    await until(there)


async def test_no_more_is_filled_again_than_the_stream_may_hold(
    ledger: TestLedger,
    streaming: ProjectorSettings,
    own_redis: LocalStack,
    admin: redis.Redis,
    start: Start,
    rng: random.Random,
    projected: Callable[[], Any],
) -> None:
    running = start(streaming.model_copy(update={"stream_entries": 1_000}))
    accounts = await ledger.open_accounts(30)
    for _ in range(30):
        await ledger.post(random_payments(rng, accounts, 100))
    await until(projected)
    entries = await entries_of(ledger)
    # Redis trims whole nodes of a hundred entries.
    assert 1_000 <= await admin.xlen(KEY) <= 1_200
    before = lost("in part")
    await admin.flushall()

    async def filled() -> bool:
        return lost("in part") > before and await admin.xlen(KEY) == 1_000

    await until(filled)
    events = await streamed(own_redis)
    assert [event.entry for event in events] == entries[-1_000:]
    assert events[0].previous == entries[-1_001]
    await running.stop()


async def test_the_index_goes_on_while_redis_is_away(
    ledger: TestLedger,
    index: TestIndex,
    streaming: ProjectorSettings,
    own_redis: LocalStack,
    start: Start,
    projected: Callable[[], Any],
) -> None:
    running = start(streaming.model_copy(update={"sinks": "elasticsearch,stream"}))
    accounts = await ledger.open_pair()
    await ledger.post([Payment(*accounts, 1)])
    await until(projected)
    await asyncio.to_thread(own_redis.stop_part, "redis")
    for amount in range(2, 5):
        await ledger.post([Payment(*accounts, amount)])
        await asyncio.wait_for(index.await_told_of(ledger), 20)
    assert running.projector.readiness["elasticsearch"].ready

    async def blocked() -> bool:
        return not running.projector.readiness["stream"].ready

    await until(blocked)
    assert not await projected()
    await index.assert_equals(ledger)
    await asyncio.to_thread(own_redis.start_part, "redis")
    await until(projected)
    await assert_equals(ledger, await streamed(own_redis))
    assert running.projector.readiness["stream"].ready


async def test_another_epoch_has_a_stream_of_its_own(
    ledger: TestLedger,
    streaming: ProjectorSettings,
    own_redis: LocalStack,
    admin: redis.Redis,
    start: Start,
    rng: random.Random,
    projected: Callable[[], Any],
) -> None:
    running = start(streaming)
    await write(ledger, rng, 5)
    await until(projected)
    await running.stop()
    reader = await TransferStream.open(own_redis.endpoints.stream_url)
    await reader.create_group("positions", EARLIEST)
    await ledger.execute("UPDATE ledger.epoch SET epoch = 2")
    start(streaming)
    await write(ledger, rng, 5)

    async def begun() -> bool:
        return await admin.exists(stream_key(DEFAULT_PREFIX, 2)) == 1 and await projected()

    await until(begun)
    with pytest.raises(StreamReplacedError) as replaced:
        await reader.read("positions", "one")
    assert (replaced.value.epoch, replaced.value.now) == (1, 2)
    await reader.close()
    await assert_equals(ledger, await streamed(own_redis))
    assert await admin.ttl(KEY) > 86_400


@pytest.mark.parametrize(
    ("statement", "end"),
    [
        ("UPDATE ledger.epoch SET epoch = 1", "EpochChangedError"),
        ("UPDATE ledger.epoch SET epoch = 2", "SinkRefusedError"),
    ],
)
async def test_a_stream_of_another_history_is_not_written(
    ledger: TestLedger,
    streaming: ProjectorSettings,
    admin: redis.Redis,
    start: Start,
    statement: str,
    end: str,
) -> None:
    """Of a later epoch, or with events that the journal does not know."""
    await ledger.post([Payment(*await ledger.open_pair(), 1)])
    await admin.set(f"{DEFAULT_PREFIX}:epoch", 2)
    key = stream_key(DEFAULT_PREFIX, 2)
    await admin.xadd(key, {"a": "b"}, id="99999999999-1")
    await ledger.execute(statement)
    labels = {"sink": "stream", "end": end}
    name = "paycore_projector_sessions_total"
    before = REGISTRY.get_sample_value(name, labels) or 0
    running = start(streaming)

    async def refused() -> bool:
        return (REGISTRY.get_sample_value(name, labels) or 0) > before

    await until(refused)
    assert not running.projector.ready
    assert await admin.xlen(key) == 1

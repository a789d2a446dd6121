"""Readers of the stream: alone or in groups, killed, too slow; and what they may not do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis.asyncio as redis
from redis.exceptions import NoPermissionError

from deploy.local import LocalStack
from paycore.client.stream import EARLIEST, LATEST, TransferStream
from paycore.client.stream_errors import (
    StreamGroupUnknownError,
    StreamRefusedError,
    StreamTrimmedError,
    StreamUnknownError,
    StreamUnreachableError,
)
from paycore.client.stream_events import StreamEvent
from paycore.domain.stream import DEFAULT_PREFIX, stream_key
from projector.settings import ProjectorSettings
from tests.integration.projector.conftest import Running
from tests.integration.projector.index import until
from tests.integration.projector.ledger import Payment, TestLedger, random_payments
from tests.integration.projector.streams import entries_of, streamed, write

Start = Callable[..., Running]
KEY = stream_key(DEFAULT_PREFIX, 1)
GROUP = "positions"


@pytest.fixture
async def running(streaming: ProjectorSettings, start: Start, projected: Any) -> Running:
    """A projector that keeps a thousand events, and has begun."""
    return start(streaming.model_copy(update={"stream_entries": 1_000}))


@pytest.fixture
async def stream(
    running: Running, ledger: TestLedger, own_redis: LocalStack, projected: Callable[[], Any]
) -> AsyncIterator[TransferStream]:
    """The stream, which has one event."""
    await ledger.post([Payment(*await ledger.open_pair(), 1)])
    await until(projected)
    async with await TransferStream.open(own_redis.endpoints.stream_url) as stream:
        yield stream


def ids(events: list[StreamEvent]) -> list[str]:
    return [event.entry for event in events]


async def test_a_group_gets_what_comes_after_its_beginning_each_once(
    ledger: TestLedger, stream: TransferStream, rng: random.Random, projected: Callable[[], Any]
) -> None:
    assert await stream.create_group("all", EARLIEST)
    assert not await stream.create_group("all", LATEST)
    assert await stream.create_group("new", LATEST)
    await write(ledger, rng, 5)
    await until(projected)
    entries = await entries_of(ledger)
    assert await stream.create_group("behind", entries[3])
    for group, expected in (("all", entries), ("new", entries[1:]), ("behind", entries[4:])):
        found: list[str] = []
        while events := await stream.read(group, "one", most=7):
            assert len(events) <= 7
            found += ids(events)
            assert await stream.acknowledge(group, events) == len(events)
        assert found == expected, group
        assert await stream.reclaim(group, "two", idle_s=0) == []


async def test_a_reader_waits_for_the_next_event_and_no_longer_than_it_says(
    ledger: TestLedger, stream: TransferStream
) -> None:
    await stream.create_group(GROUP)
    clock = asyncio.get_running_loop()
    began_s = clock.time()
    assert await stream.read(GROUP, "one", wait_s=1.3) == []
    assert 1.2 < clock.time() - began_s < 10
    waiting = asyncio.create_task(stream.read(GROUP, "one", wait_s=30))
    await asyncio.sleep(0.2)
    [posted] = await ledger.post([Payment(*await ledger.open_pair(), 7)])
    [event] = await asyncio.wait_for(waiting, 25)
    assert (event.id, event.amount, event.declined) == (posted, 7, False)


async def test_of_two_consumers_one_is_killed_and_every_event_is_handled(
    ledger: TestLedger,
    stream: TransferStream,
    own_redis: LocalStack,
    rng: random.Random,
    projected: Callable[[], Any],
) -> None:
    await stream.create_group(GROUP, EARLIEST)
    handled: list[str] = []
    wanted: set[str] = set()

    async def consume(name: str, dies_after: int | None) -> None:
        taken = 0
        async with await TransferStream.open(own_redis.endpoints.stream_url) as own:
            while True:
                events = await own.reclaim(GROUP, name, idle_s=0.5)
                events += await own.read(GROUP, name, most=5, wait_s=0.2)
                taken += len(events)
                if dies_after is not None and taken > dies_after:
                    # It has them, and handles none of these.
                    return
                for event in events:
                    handled.append(event.entry)
                    await own.acknowledge(GROUP, [event])
                if wanted and wanted <= set(handled):
                    return

    consumers = [asyncio.create_task(consume(*one)) for one in (("a", 20), ("b", None))]
    await write(ledger, rng, 25)
    await until(projected)
    await asyncio.wait_for(consumers[0], 90)
    wanted.update(await entries_of(ledger))
    await asyncio.wait_for(consumers[1], 90)
    # The five that the killed one had are handled by the other, and none of the rest twice.
    assert sorted(handled) == sorted(wanted)
    pending = await asyncio.wait_for(stream.reclaim(GROUP, "c", idle_s=0), 60)
    assert pending == []


async def fill(ledger: TestLedger, rng: random.Random, transfers: int) -> None:
    accounts = await ledger.open_accounts(10)
    for _ in range(transfers // 100):
        await ledger.post(random_payments(rng, accounts, 100))


async def test_a_group_that_was_trimmed_past_is_told_until_it_is_moved(
    ledger: TestLedger, stream: TransferStream, rng: random.Random, projected: Callable[[], Any]
) -> None:
    await stream.create_group(GROUP)
    await fill(ledger, rng, 300)
    await until(projected)
    read = await stream.read(GROUP, "one", most=50)
    await stream.acknowledge(GROUP, read)
    await fill(ledger, rng, 1_500)
    await until(projected)
    entries = await entries_of(ledger)
    for _ in range(2):
        with pytest.raises(StreamTrimmedError) as gap:
            await stream.read(GROUP, "two")
        assert gap.value.after == read[-1].entry
    first = entries.index(gap.value.resumes_after) + 1
    assert 1_000 <= len(entries) - first <= 1_200
    await stream.skip_lost(GROUP, gap.value)
    found: list[str] = []
    while events := await stream.read(GROUP, "one", most=500):
        found += ids(events)
    assert found == entries[first:]


async def test_pending_events_that_were_trimmed_are_told_until_they_are_acknowledged(
    ledger: TestLedger, stream: TransferStream, rng: random.Random, projected: Callable[[], Any]
) -> None:
    await stream.create_group(GROUP, EARLIEST)
    [taken] = await stream.read(GROUP, "one")
    await fill(ledger, rng, 1_500)
    await until(projected)
    for _ in range(2):
        with pytest.raises(StreamTrimmedError) as gone:
            await stream.reclaim(GROUP, "two", idle_s=0)
        assert gone.value.lost == (taken.entry,)
    await stream.skip_lost(GROUP, gone.value)
    assert await stream.reclaim(GROUP, "two", idle_s=0) == []


async def test_a_reader_alone_that_was_trimmed_past_is_told(
    ledger: TestLedger, stream: TransferStream, rng: random.Random, projected: Callable[[], Any]
) -> None:
    [first] = [event async for event in _some(stream, EARLIEST, 1)]
    await fill(ledger, rng, 1_500)
    await until(projected)
    with pytest.raises(StreamTrimmedError) as gap:
        [event async for event in _some(stream, first.entry, 1)]
    resumed = [event async for event in _some(stream, gap.value.resumes_after, 3)]
    entries = await entries_of(ledger)
    place = entries.index(gap.value.resumes_after)
    assert ids(resumed) == entries[place + 1 : place + 4]


async def _some(stream: TransferStream, start: str, count: int) -> AsyncIterator[StreamEvent]:
    reading = stream.follow(start)
    for _ in range(count):
        yield await anext(reading)
    await reading.aclose()


async def test_a_group_that_went_with_an_emptied_redis_goes_on_where_it_was(
    ledger: TestLedger,
    stream: TransferStream,
    admin: redis.Redis,
    rng: random.Random,
    projected: Callable[[], Any],
) -> None:
    await stream.create_group(GROUP, EARLIEST)
    await write(ledger, rng, 6)
    await until(projected)
    read = await stream.read(GROUP, "one", most=9)
    await admin.flushall()

    async def filled() -> bool:
        try:
            await stream.read(GROUP, "one")
        except StreamUnknownError:
            return False
        except StreamGroupUnknownError:
            return await admin.xlen(KEY) == len(await entries_of(ledger))
        raise AssertionError("the group cannot be there")

    await until(filled)
    await stream.create_group(GROUP, read[-1].entry)
    assert ids(await stream.read(GROUP, "one", most=500)) == (await entries_of(ledger))[9:]


async def test_what_there_is_not_is_said(
    admin: redis.Redis, own_redis: LocalStack, stream: TransferStream
) -> None:
    with pytest.raises(StreamGroupUnknownError):
        await stream.read("nobody", "one")
    with pytest.raises(StreamGroupUnknownError):
        await stream.reclaim("nobody", "one", idle_s=0)
    with pytest.raises(ValueError, match="not the id of an entry"):
        await stream.create_group(GROUP, "yesterday")
    with pytest.raises(StreamUnknownError):
        await TransferStream.open(own_redis.endpoints.stream_url, prefix="paycore:transfers:other")
    with pytest.raises(StreamRefusedError):
        await TransferStream.open(own_redis.endpoints.stream_url.replace("stream:", "stream:x"))
    with pytest.raises(StreamRefusedError):
        await TransferStream.open(own_redis.endpoints.stream_url, prefix="other")
    with pytest.raises(StreamUnreachableError):
        await TransferStream.open("redis://127.0.0.1:1/0")


FORBIDDEN = {
    "stream_url": [
        ("XADD", KEY, "*", "a", "b"), ("XTRIM", KEY, "MAXLEN", 0), ("XDEL", KEY, "1-1"),
        ("DEL", KEY), ("SET", f"{DEFAULT_PREFIX}:epoch", 9), ("XGROUP", "DESTROY", KEY, GROUP),
        ("XREAD", "STREAMS", "other", "0"), ("GET", "limits"), ("KEYS", "*"), ("FLUSHALL",),
        ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("EXPIRE", KEY, 1),
    ],
    "projector_redis_url": [
        ("DEL", KEY), ("GET", "limits"), ("SET", "limits", 1), ("XADD", "other", "*", "a", "b"),
        ("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "GET", "*"), ("ACL", "LIST"),
        ("XGROUP", "DESTROY", KEY, GROUP),
    ],
}  # fmt: skip


@pytest.mark.parametrize("user", FORBIDDEN)
async def test_a_user_of_the_stream_may_do_nothing_else(
    own_redis: LocalStack, admin: redis.Redis, user: str
) -> None:
    url: str = getattr(own_redis.endpoints, user)
    async with redis.Redis.from_url(url, protocol=2) as client:
        assert await client.ping()
        for words in FORBIDDEN[user]:
            with pytest.raises(NoPermissionError):
                await client.execute_command(*words)  # type: ignore[no-untyped-call]


async def test_nothing_personal_is_in_the_stream(
    ledger: TestLedger,
    own_redis: LocalStack,
    admin: redis.Redis,
    stream: TransferStream,
    projected: Callable[[], Any],
) -> None:
    accounts = await ledger.open_pair()
    details = {"user_id": "canary-user", "description": "canary-text", "metadata": {"a": "canary"}}
    await ledger.post([Payment(*accounts, 3, "canary-reference", details)])
    await until(projected)
    events = await streamed(own_redis)
    assert len(events) == 2
    raw = str(await admin.xrange(KEY))
    assert str(events[-1].id) in raw
    assert "canary" not in raw
    assert f"owner-{accounts[0]}" not in raw

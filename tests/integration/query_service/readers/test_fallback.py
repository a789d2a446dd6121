"""History goes on from the ledger while the index is away, slow or behind, and returns to it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.position import Position
from paycore.domain.transfers import Posted
from paycore.runtime.breaker import Breaker, BreakerState, probe_while_open
from paycore.runtime.clock import SystemClock
from paycore.runtime.elastic import ElasticAddress, open_client
from query_service.positions import PositionTracker
from query_service.readers.elastic.connection import Connection
from query_service.readers.elastic.reader import ElasticPositions, ElasticReader
from query_service.readers.fallback import PROBE_EVERY_S, TRIPS_AFTER, FallbackReader
from query_service.readers.port import PageKey, StatementFilter, TransferFilter
from query_service.readers.records import TransferRecord
from tests.integration.query_service.readers import oracle
from tests.integration.query_service.readers.conftest import (
    BUSY_TOLERANCE_S,
    World,
    projector_settings,
    terms,
)
from tests.support.command_core import payment
from tests.support.tcp_proxy import TcpProxy

WITHIN_S = 8.0
"""The time that a call here has."""


@dataclass
class Falling:
    """A reader whose index lies behind a proxy that can be cut."""

    reader: FallbackReader
    breaker: Breaker
    proxy: TcpProxy
    positions: PositionTracker

    async def stop_index(self) -> None:
        self.proxy.refusing = True
        await self.proxy.cut()

    def start_index(self) -> None:
        self.proxy.refusing = False

    async def source(self, account: int) -> str:
        answer = await self.reader.account(AccountId(account), terms(within_s=WITHIN_S))
        assert answer.value is not None
        return answer.freshness.source

    async def until(self, source: str, account: int) -> None:
        async with asyncio.timeout(60):
            while await self.source(account) != source:
                await asyncio.sleep(0.05)


@asynccontextmanager
async def open_falling(world: World) -> AsyncIterator[Falling]:
    settings = projector_settings(world.database)
    clock = SystemClock()
    url = urlsplit(settings.elasticsearch_url)
    async with TcpProxy(url.hostname or "", url.port or 0) as proxy:
        settings.elasticsearch_url = f"http://127.0.0.1:{proxy.port}"
        client = open_client(ElasticAddress.of(settings), connections=4, request_timeout_s=10)
        connection = Connection(client, clock)
        positions = PositionTracker(
            ElasticPositions(connection, world.database.name), clock, BUSY_TOLERANCE_S
        )
        index = ElasticReader(connection, positions, world.database.name)
        breaker = Breaker("index", trips_after=TRIPS_AFTER)
        reader = FallbackReader(index, world.readers["postgresql"], breaker, clock)
        tasks = [
            asyncio.create_task(positions.run()),
            asyncio.create_task(
                probe_while_open(breaker, positions.probe, every_s=PROBE_EVERY_S, within_s=1.0)
            ),
        ]
        try:
            yield Falling(reader, breaker, proxy, positions)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await client.close()


@pytest.fixture
async def falling(world: World) -> AsyncIterator[Falling]:
    async with open_falling(world) as falling:
        await falling.until("elasticsearch", world.accounts[0])
        yield falling


async def test_reads_under_load_never_fail_while_the_index_goes_and_comes(
    world: World, falling: Falling
) -> None:
    sources: list[str] = []
    stop = asyncio.Event()

    async def read(chance: random.Random) -> None:
        while not stop.is_set():
            account = AccountId(chance.choice(world.accounts))
            asked = terms(within_s=WITHIN_S)
            match chance.randrange(4):
                case 0:
                    wanted = TransferFilter(account=account)
                    sources.append(
                        (await falling.reader.transfers(wanted, None, 5, asked)).freshness.source
                    )
                case 1:
                    sources.append((await falling.reader.account(account, asked)).freshness.source)
                case 2:
                    past = await falling.reader.balance_at(account, 2**60, asked)
                    sources.append(past.freshness.source)
                case _:
                    of = StatementFilter(account, 1, 2**60)
                    page = await falling.reader.statement(of, None, 5, asked)
                    sources.append(page.freshness.source)

    async with asyncio.TaskGroup() as readers:
        for seed in range(3):
            readers.create_task(read(random.Random(seed)))
        await asyncio.sleep(0.5)
        await falling.stop_index()
        await falling.until("postgresql", world.accounts[0])
        await asyncio.sleep(2)
        falling.start_index()
        await falling.until("elasticsearch", world.accounts[0])
        await asyncio.sleep(0.5)
        stop.set()
    assert set(sources) == {"elasticsearch", "postgresql"}
    assert falling.breaker.state is BreakerState.CLOSED


async def test_once_the_index_is_known_to_hang_no_call_waits_for_it(
    world: World, falling: Falling
) -> None:
    account = world.accounts[0]
    falling.proxy.delay_s = 60.0
    async with asyncio.timeout(60):
        while falling.breaker.state is not BreakerState.OPEN:
            assert await falling.source(account) == "postgresql"
    began = time.monotonic()
    for _ in range(20):
        assert await falling.source(account) == "postgresql"
    # Twenty waits of a share each would be far more.
    assert time.monotonic() - began < 10
    falling.proxy.delay_s = 0.0
    await falling.proxy.cut()
    await falling.until("elasticsearch", account)


async def test_what_the_index_does_not_show_yet_is_read_from_the_ledger(
    world: World, falling: Falling
) -> None:
    await falling.stop_index()
    await falling.until("postgresql", world.accounts[0])
    core = world.desk.core
    _, *accounts = await core.open(2)
    outcome = await core.one(payment(accounts[0], accounts[1], 1))
    assert isinstance(outcome, Posted)
    answer = await falling.reader.transfer(
        outcome.transfer.id, terms(outcome.position, within_s=WITHIN_S)
    )
    assert answer.value is not None
    assert answer.freshness.source == "postgresql"
    assert answer.freshness.position is not None
    assert outcome.position is not None
    assert answer.freshness.position >= outcome.position
    # What the ledger showed, the index must have too before it answers.
    falling.start_index()
    await falling.until("elasticsearch", world.accounts[0])
    again = await falling.reader.transfer(
        outcome.transfer.id, terms(answer.freshness.position, within_s=WITHIN_S)
    )
    assert again.value is not None


async def test_what_neither_has_is_refused_in_time(world: World, falling: Falling) -> None:
    last = await world.last_position()
    wanted = Position(last.epoch, last.xid + 1_000_000, 1)
    asked = terms(wanted, within_s=2.0)
    with pytest.raises(PaycoreError) as caught:
        await falling.reader.account(AccountId(world.accounts[0]), asked)
    assert caught.value.reason is Reason.INDEX_BEHIND
    assert SystemClock().monotonic_s() < asked.deadline_s


async def test_a_walk_that_begins_at_the_index_goes_on_at_the_ledger(
    world: World, falling: Falling
) -> None:
    await world.catch_up()
    account = max(world.accounts[:8], key=lambda one: one)
    wanted = TransferFilter(account=AccountId(account), include_declines=True)
    found: list[TransferRecord] = []
    sources: list[str] = []
    after: PageKey | None = None
    while True:
        answer = await falling.reader.transfers(wanted, after, 2, terms(within_s=WITHIN_S))
        found += answer.value
        sources.append(answer.freshness.source)
        if len(answer.value) < 2:
            break
        if len(sources) == 1:
            await falling.stop_index()
        after = PageKey(answer.value[-1].created_at_us, answer.value[-1].id)
    assert [record.id for record in found] == await oracle.listed(world.admin, wanted)
    assert sources[0] == "elasticsearch"
    assert set(sources[1:]) <= {"postgresql"}
    falling.start_index()

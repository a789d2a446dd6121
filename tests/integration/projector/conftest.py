"""Real stores, and for each test a database and an index prefix of its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import asyncpg
import grpc
import pytest
import redis.asyncio as redis
from elasticsearch import AsyncElasticsearch
from pydantic import SecretStr

from deploy.local import Endpoints, LocalStack
from paycore.runtime.channel import open_channel
from paycore.runtime.clock import SystemClock
from paycore.runtime.data_keys import DataKeys
from projector.personal import DetailsOpener
from projector.service import Projector
from projector.settings import ProjectorSettings
from projector.sinks.catalogue import MakeSink, Parts, sinks
from tests.integration.projector.index import TestIndex
from tests.integration.projector.ledger import TestLedger
from tests.support.command_core import CommandCore, command_core
from tests.support.databases import OwnDatabase


@pytest.fixture
def name(database: OwnDatabase) -> str:
    """Names the test's database and is its index prefix."""
    return database.name


@pytest.fixture
async def ledger(database: OwnDatabase) -> AsyncIterator[TestLedger]:
    pool = await asyncpg.create_pool(database.dsn("owner"), min_size=0, max_size=12)
    yield TestLedger(pool)
    pool.terminate()


@pytest.fixture
async def core(database: OwnDatabase) -> AsyncIterator[CommandCore]:
    """Posts into the test's database what needs more than rows."""
    async with command_core(database.dsn("command")) as core:
        yield core


@pytest.fixture
async def index(endpoints: Endpoints, name: str) -> AsyncIterator[TestIndex]:
    client = AsyncElasticsearch(
        endpoints.elasticsearch_url,
        basic_auth=(endpoints.elasticsearch_user, endpoints.elasticsearch_password),
        max_retries=0,
    )
    index = TestIndex(client, name)
    yield index
    for made in await client.indices.get(index=f"{name}-*"):
        # A projector that was cut off may have asked for the same just before.
        await client.options(ignore_status=404).indices.delete(index=made)
    await client.close()


@pytest.fixture
def settings(endpoints: Endpoints, name: str) -> ProjectorSettings:
    return ProjectorSettings(
        environment="local",
        insecure=True,
        # Nobody answers there: what is plain needs no keys.
        signing_target="127.0.0.1:1",
        postgres_dsn=SecretStr(endpoints.dsn("paycore_projector", name)),
        elasticsearch_url=endpoints.elasticsearch_url,
        elasticsearch_user=endpoints.elasticsearch_user,
        elasticsearch_password=SecretStr(endpoints.elasticsearch_password),
        index_prefix=name,
        sinks="elasticsearch",
        check_settled_s=0.0,
        index_grace_s=0.0,
        index_reset_pause_s=0.0,
        stand_by_poll_s=0.1,
        shutdown_grace_s=4.0,
    )


class Running:
    """A projector that runs in this process."""

    def __init__(
        self,
        settings: ProjectorSettings,
        channel: grpc.aio.Channel | None = None,
        more: Callable[[Parts], Mapping[str, MakeSink]] = lambda parts: {},
    ) -> None:
        """`channel` leads to the signing service, where it is not that of the settings; `more`
        gives sinks beside those of the settings."""
        channel = channel or open_channel(settings.signing_target, None, service="signing")
        self._channel = channel
        self._stop = asyncio.Event()
        clock = SystemClock()
        keys = DataKeys(channel, clock)
        parts = Parts(DetailsOpener(keys), clock, random.Random(), keys)
        projector = Projector(settings, {**sinks(settings, parts), **more(parts)}, parts)
        self.projector = projector
        self.readiness = next(iter(projector.readiness.values()))
        self.task = asyncio.create_task(projector.run(self._stop))

    async def stop(self) -> None:
        """End it as SIGTERM does."""
        self._stop.set()
        await self.task
        await self._channel.close(None)

    async def cut(self) -> None:
        """End it wherever it is."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self._channel.close(None)


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Running]]:
    """Starts projectors, which end with the test."""
    started: list[Running] = []

    def begin(
        settings: ProjectorSettings,
        channel: grpc.aio.Channel | None = None,
        **more: Any,
    ) -> Running:
        started.append(Running(settings, channel, **more))
        return started[-1]

    yield begin
    for running in started:
        await running.cut()


@pytest.fixture(scope="session")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A Redis that these tests may empty and restart, with the users of the local stack."""
    with LocalStack(tmp_path_factory.mktemp("redis"), parts={"redis"}) as stack:
        yield stack


@pytest.fixture
async def admin(own_redis: LocalStack) -> AsyncIterator[redis.Redis]:
    async with redis.Redis.from_url(
        own_redis.endpoints.redis_url, decode_responses=True, protocol=2
    ) as client:
        await client.flushall()
        yield client


@pytest.fixture
def streaming(
    settings: ProjectorSettings, own_redis: LocalStack, admin: redis.Redis
) -> ProjectorSettings:
    url = SecretStr(own_redis.endpoints.projector_redis_url)
    return settings.model_copy(
        update={"sinks": "stream", "redis_url": url, "stream_entries": 100_000}
    )


@pytest.fixture
def projected(ledger: TestLedger) -> Callable[[], Any]:
    """Whether the sink has taken all of the journal."""

    async def reached() -> bool:
        rows = await ledger.rows("SELECT xid FROM projection.checkpoints WHERE sink = 'stream'")
        return bool(rows) and bool(rows[0]["xid"] == await ledger.last_xid())

    return reached

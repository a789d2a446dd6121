"""Real stores, and for each test a database and an index prefix of its own."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Callable, Iterator

import asyncpg
import psycopg
import pytest
from elasticsearch import AsyncElasticsearch
from pydantic import SecretStr

from deploy.local import Endpoints, LocalStack
from operations.migrate.bootstrap import create_database
from paycore.runtime.clock import SystemClock
from projector.__main__ import elastic_settings
from projector.readiness import Readiness
from projector.service import Projector
from projector.settings import ProjectorSettings
from projector.sinks.elastic import ElasticSink
from tests.integration.projector.index import TestIndex
from tests.integration.projector.ledger import TestLedger


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """PostgreSQL with the schema, and Elasticsearch."""
    stack = LocalStack(
        tmp_path_factory.mktemp("projector-stack"),
        parts={"postgres", "elasticsearch"},
        schema=True,
    )
    stack.start()
    try:
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def endpoints(stack: LocalStack) -> Endpoints:
    return stack.endpoints


@pytest.fixture
def rng() -> random.Random:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    return random.Random(seed)


@pytest.fixture
def name() -> str:
    """Names the test's database and is its index prefix."""
    return f"t{secrets.token_hex(6)}"


@pytest.fixture
async def ledger(endpoints: Endpoints, name: str) -> AsyncIterator[TestLedger]:
    admin = endpoints.postgres_admin_dsn
    await asyncio.to_thread(create_database, admin, name, "paycore")
    pool = await asyncpg.create_pool(endpoints.dsn("paycore_owner", name), min_size=0, max_size=12)
    yield TestLedger(pool)
    pool.terminate()
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def index(endpoints: Endpoints, name: str) -> AsyncIterator[TestIndex]:
    client = AsyncElasticsearch(
        endpoints.elasticsearch_url,
        basic_auth=(endpoints.elasticsearch_user, endpoints.elasticsearch_password),
        max_retries=0,
    )
    index = TestIndex(client, name)
    yield index
    for made in (f"{name}-transfers-v1", f"{name}-accounts-v1", f"{name}-positions"):
        await client.options(ignore_status=404).indices.delete(index=made)
    await client.close()


@pytest.fixture
def settings(endpoints: Endpoints, name: str) -> ProjectorSettings:
    return ProjectorSettings(
        environment="local",
        insecure=True,
        postgres_dsn=SecretStr(endpoints.dsn("paycore_projector", name)),
        elasticsearch_url=endpoints.elasticsearch_url,
        elasticsearch_user=endpoints.elasticsearch_user,
        elasticsearch_password=SecretStr(endpoints.elasticsearch_password),
        index_prefix=name,
        stand_by_poll_s=0.1,
        shutdown_grace_s=4.0,
    )


class Running:
    """A projector that runs in this process."""

    def __init__(self, settings: ProjectorSettings) -> None:
        self.readiness = Readiness()
        self._stop = asyncio.Event()
        clock, chance, elastic = SystemClock(), random.Random(), elastic_settings(settings)
        projector = Projector(
            settings,
            lambda: ElasticSink(elastic, clock, self.readiness, chance),
            clock,
            self.readiness,
            chance,
        )
        self.task = asyncio.create_task(projector.run(self._stop))

    async def stop(self) -> None:
        """End it as SIGTERM does."""
        self._stop.set()
        await self.task

    async def cut(self) -> None:
        """End it wherever it is."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def start() -> AsyncIterator[Callable[[ProjectorSettings], Running]]:
    """Starts projectors, which end with the test."""
    started: list[Running] = []

    def begin(settings: ProjectorSettings) -> Running:
        started.append(Running(settings))
        return started[-1]

    yield begin
    for running in started:
        await running.cut()

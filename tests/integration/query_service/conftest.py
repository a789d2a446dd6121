"""Real stores, an index with the projector's mappings, and the query service behind mTLS."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from elasticsearch import AsyncElasticsearch
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import SecretStr

from deploy.local import Endpoints, LocalStack
from deploy.local.services import ACCESS_FILE
from paycore.domain.position import Position
from paycore.runtime.channel import open_channel
from paycore.runtime.tls import TlsFiles
from projector.batch import Document
from projector.sinks.elastic_indices import Indices
from query_service.__main__ import serve
from query_service.settings import QuerySettings
from tests.integration.query_service.ledger_model import Ledger

PREFIX = "querytest"
ERA_US = 86_400_000_000
STORES = frozenset({"postgres", "elasticsearch"})


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """PostgreSQL with the schema and the local callers' grants, and Elasticsearch."""
    stack = LocalStack(tmp_path_factory.mktemp("query-stack"), parts=STORES, schema=True)
    stack.start()
    try:
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def endpoints(stack: LocalStack) -> Endpoints:
    return stack.endpoints


@pytest.fixture(scope="session")
async def index(endpoints: Endpoints) -> AsyncIterator[Index]:
    client = AsyncElasticsearch(
        endpoints.elasticsearch_url,
        basic_auth=(endpoints.elasticsearch_user, endpoints.elasticsearch_password),
    )
    index = Index(client)
    await index.create()
    yield index
    await client.close()


@pytest.fixture(scope="session")
async def settings(endpoints: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> QuerySettings:
    """Of a service on a free port; `loadtest` reads institution north besides its own accounts."""
    connection = await asyncpg.connect(endpoints.postgres_dsn["paycore_owner"])
    await connection.execute(
        "INSERT INTO ledger.grants (client, action, scope, institution)"
        " VALUES ('loadtest', 'READ', 'INSTITUTION', 'north') ON CONFLICT DO NOTHING"
    )
    await connection.close()
    key_file = tmp_path_factory.mktemp("keys") / "page-token.key"
    key_file.write_text(secrets.token_hex(32))
    return service_settings(endpoints, key_file)


@pytest.fixture(scope="session")
async def target(settings: QuerySettings, index: Index) -> AsyncIterator[str]:
    """host:port of the running service."""
    stop = asyncio.Event()
    service = asyncio.create_task(serve(settings, stop))
    await until_serving(settings)
    yield settings.listen
    stop.set()
    await service


@pytest.fixture(scope="session")
async def connect(
    endpoints: Endpoints, target: str
) -> AsyncIterator[Callable[[str], grpc.aio.Channel]]:
    """Makes a channel to the service for a caller of the local stack."""
    channels: dict[str, grpc.aio.Channel] = {}

    def channel(caller: str) -> grpc.aio.Channel:
        if caller not in channels:
            channels[caller] = open_channel(target, endpoints.tls[caller])
        return channels[caller]

    yield channel
    for opened in channels.values():
        await opened.close(None)


@pytest.fixture
def rng() -> random.Random:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    return random.Random(seed)


@pytest.fixture
def ledger(rng: random.Random, era: Callable[[], int]) -> Ledger:
    """An empty ledger in an era of its own."""
    return Ledger(rng, era())


@pytest.fixture(scope="session")
def era() -> Callable[[], int]:
    """Each call gives the start of a day that nobody else uses, in microseconds."""
    days = iter(range(20_000, 30_000))
    return lambda: next(days) * ERA_US


class Index:
    """The indices of PREFIX, filled as the projector fills them."""

    def __init__(self, client: AsyncElasticsearch) -> None:
        self.client = client

    async def create(self) -> None:
        async def nothing_to_forget() -> None: ...

        await Indices(self.client, PREFIX).ensure(nothing_to_forget)

    async def add(self, documents: Iterable[Document], *, refresh: bool = True) -> None:
        lines: list[Any] = []
        for document in documents:
            action = {"_index": f"{PREFIX}-{document.kind.value}", "_id": str(document.id)}
            lines += [json.dumps({"index": action}).encode(), document.body]
        reply = await self.client.bulk(body=lines, refresh=refresh)
        assert not reply["errors"], reply

    async def store_position(self, position: Position, source_time_us: int) -> None:
        await self.client.index(
            index=f"{PREFIX}-positions",
            id="elasticsearch",
            document={
                "epoch": position.epoch,
                "xid": position.xid,
                "journal_id": position.journal_id,
                "refreshed_at_us": source_time_us,
                "source_time_us": source_time_us,
            },
        )


def service_settings(endpoints: Endpoints, key_file: Path) -> QuerySettings:
    tls = endpoints.tls["query"]
    return QuerySettings(
        environment="local",
        listen=f"127.0.0.1:{free_port()}",
        metrics_listen=f"127.0.0.1:{free_port()}",
        tls_certificate=tls.certificate,
        tls_key=tls.key,
        tls_ca=tls.ca,
        access_file=ACCESS_FILE,
        shutdown_grace_s=2.0,
        postgres_dsn=SecretStr(endpoints.postgres_dsn["paycore_query"]),
        elasticsearch_url=endpoints.elasticsearch_url,
        elasticsearch_user=endpoints.elasticsearch_user,
        elasticsearch_password=SecretStr(endpoints.elasticsearch_password),
        index_prefix=PREFIX,
        page_token_key_file=key_file,
    )


async def until_serving(settings: QuerySettings) -> None:
    """Return once health says SERVING, within 20 seconds."""
    tls = TlsFiles.of(settings)
    async with open_channel(settings.listen, tls) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        async with asyncio.timeout(20):
            while True:
                reply = await stub.Check(
                    health_pb2.HealthCheckRequest(), timeout=10, wait_for_ready=True
                )
                if reply.status == health_pb2.HealthCheckResponse.SERVING:
                    return
                await asyncio.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

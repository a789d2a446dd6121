"""Real stores, an index with the projector's mappings, and the query service behind mTLS."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from elasticsearch import AsyncElasticsearch
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import SecretStr

from deploy.local import Endpoints
from deploy.local.services import ACCESS_FILE
from paycore.domain.position import Position
from paycore.runtime.channel import open_channel
from paycore.runtime.tls import TlsFiles
from projector.batch import Document, DocumentKind
from projector.sinks.elastic_indices import Indices
from projector.sinks.elastic_layout import Layout
from query_service.__main__ import serve
from query_service.settings import QuerySettings
from tests.integration.query_service.ledger_model import Ledger
from tests.support.databases import OwnDatabase, own_database

PREFIX = f"querytest-{secrets.token_hex(4)}"
ERA_US = 86_400_000_000


@pytest.fixture(scope="session")
def ledger_database(endpoints: Endpoints, template: str) -> Iterator[OwnDatabase]:
    """Grants of its own: `loadtest` reads institution north besides its own accounts."""
    with own_database(endpoints, template) as own:
        with psycopg.connect(own.dsn("owner")) as connection:
            connection.execute(
                "INSERT INTO ledger.grants (client, action, scope, institution)"
                " VALUES ('loadtest', 'READ', 'INSTITUTION', 'north')"
            )
        yield own


@pytest.fixture(scope="session")
async def index(endpoints: Endpoints) -> AsyncIterator[Index]:
    client = AsyncElasticsearch(
        endpoints.elasticsearch_url,
        basic_auth=(endpoints.elasticsearch_user, endpoints.elasticsearch_password),
        request_timeout=60,
    )
    index = Index(client)
    await index.create()
    yield index
    await index.delete()
    await client.close()


@pytest.fixture(scope="session")
def settings(
    ledger_database: OwnDatabase, tmp_path_factory: pytest.TempPathFactory
) -> QuerySettings:
    """Of a service on free ports, with the indices and the database of these tests."""
    key_file = tmp_path_factory.mktemp("keys") / "page-token.key"
    key_file.write_text(secrets.token_hex(32))
    return service_settings(ledger_database, key_file)


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
            channels[caller] = open_channel(target, endpoints.tls[caller], service="query")
        return channels[caller]

    yield channel
    for opened in channels.values():
        await opened.close(None)


@pytest.fixture
def ledger(rng: random.Random, era: Callable[[], int]) -> Ledger:
    """An empty ledger in an era of its own."""
    return Ledger(rng, era())


@pytest.fixture(scope="session")
def era() -> Callable[[], int]:
    """Each call gives the start of a day that nobody else uses, in microseconds."""
    days = iter(range(20_000, 30_000))
    return lambda: next(days) * ERA_US


MONTH = "2026.11"
LAYOUT = Layout(PREFIX, 1)


class Index:
    """The indices of PREFIX, filled as the projector fills them."""

    def __init__(self, client: AsyncElasticsearch) -> None:
        self.client = client

    async def create(self) -> None:
        indices = Indices(self.client, PREFIX)
        await indices.ensure_positions()
        await indices.make(LAYOUT, [MONTH], served=True)
        await self.store_position(Position(1, 1, 1), time.time_ns() // 1_000)

    async def delete(self) -> None:
        found = await self.client.indices.get(index=f"{PREFIX}-*")
        # The tests of outages use the same prefix, and may have ended first.
        if found:
            await self.client.indices.delete(index=list(found))

    async def add(self, documents: Iterable[Document], *, refresh: bool = True) -> None:
        lines: list[Any] = []
        for document in documents:
            # Readers do not mind in which month's index a document stands.
            month = MONTH if document.kind is DocumentKind.TRANSFER else ""
            action = {"_index": LAYOUT.index(document.kind, month), "_id": str(document.id)}
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


def service_settings(database: OwnDatabase, key_file: Path) -> QuerySettings:
    endpoints = database.endpoints
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
        postgres_dsn=SecretStr(database.dsn("query")),
        elasticsearch_url=endpoints.elasticsearch_url,
        elasticsearch_user=endpoints.elasticsearch_user,
        elasticsearch_password=SecretStr(endpoints.elasticsearch_password),
        index_prefix=PREFIX,
        # Positions are told by tests, now and then: nothing goes on here by itself.
        index_tolerance_s=86_400.0,
        page_token_key_file=key_file,
        # Nobody answers there: what is plain needs no keys.
        signing_target="127.0.0.1:1",
    )


async def until_serving(settings: QuerySettings) -> None:
    """Return once health says SERVING, within a minute."""
    tls = TlsFiles.of(settings)
    async with open_channel(settings.listen, tls, service="query") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        async with asyncio.timeout(60):
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

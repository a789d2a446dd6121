"""The service as a process: environment in, health and metrics out, an orderly end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import SecretStr

from paycore.runtime.channel import open_channel
from paycore.runtime.tls import TlsFiles
from query_service.settings import QuerySettings
from tests.integration.query_service.conftest import (
    Index,
    free_port,
    service_settings,
    until_serving,
)
from tests.support.databases import OwnDatabase


@pytest.fixture
def own_settings(ledger_database: OwnDatabase, settings: QuerySettings) -> QuerySettings:
    return service_settings(ledger_database, settings.page_token_key_file)


@pytest.fixture
async def process(
    own_settings: QuerySettings, index: Index
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await start(own_settings)
    yield process
    if process.returncode is None:
        process.kill()
    await process.communicate()


async def start(settings: QuerySettings) -> asyncio.subprocess.Process:
    variables = {}
    for name, value in settings.model_dump(exclude_none=True).items():
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        variables[f"PAYCORE_QUERY_{name.upper()}"] = text
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "query_service",
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
    )


async def test_it_serves_and_ends_in_order(
    process: asyncio.subprocess.Process, own_settings: QuerySettings
) -> None:
    await until_serving(own_settings)
    url = f"http://{own_settings.metrics_listen}/metrics"
    page = (await asyncio.to_thread(urllib.request.urlopen, url)).read().decode()
    for name in ("index_lag_seconds", "waiting_calls", "index_requests", "grants_age_seconds"):
        assert f"\npaycore_query_{name} " in page
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(own_settings.shutdown_grace_s + 30):
        output, _ = await process.communicate()
    assert process.returncode == 0
    assert b'"stopped"' in output
    assert own_settings.elasticsearch_password.get_secret_value().encode() not in output


async def test_it_is_not_serving_while_it_has_no_grants(own_settings: QuerySettings) -> None:
    dsn = f"postgresql://paycore_query@127.0.0.1:{free_port()}/paycore"
    settings = own_settings.model_copy(update={"postgres_dsn": SecretStr(dsn)})
    process = await start(settings)
    try:
        async with open_channel(settings.listen, TlsFiles.of(settings), service="query") as channel:
            reply = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=10, wait_for_ready=True
            )
        assert reply.status == health_pb2.HealthCheckResponse.NOT_SERVING
    finally:
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    assert process.returncode == 0

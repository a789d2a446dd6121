"""The process as it is deployed: mTLS health, metrics, signals."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local import Endpoints
from paycore.runtime.channel import open_channel
from projector.settings import ProjectorSettings
from tests.integration.projector.index import TestIndex, until
from tests.integration.projector.ledger import Payment, TestLedger, random_payments

ROOT = Path(__file__).parents[3]
SERVING = health_pb2.HealthCheckResponse.SERVING


async def test_kill_9_in_the_middle_of_the_load_loses_and_doubles_nothing(
    endpoints: Endpoints,
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    rng: random.Random,
) -> None:
    accounts = await ledger.open_accounts(20)
    environment = variables(settings, endpoints) | {"PAYCORE_PROJECTOR_PAGE_ENTRIES": "25"}
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
    await index.await_position(ledger)
    await index.assert_equals(ledger)
    process.terminate()
    assert await process.wait() == 0


TAKES_OVER_WITHIN_S = 60.0
"""Far more than the stand-by's poll, for a busy machine; a lock that stays would be never."""


async def test_a_second_process_stands_by_and_leads_at_once_when_the_first_is_killed(
    endpoints: Endpoints, ledger: TestLedger, index: TestIndex, settings: ProjectorSettings
) -> None:
    environments = [variables(settings, endpoints) for _ in range(2)]
    accounts = await ledger.open_pair()
    first = await launch(environments[0])
    await index.await_position(ledger)
    second = await launch(environments[1])

    async def leads(environment: Mapping[str, str]) -> float | None:
        try:
            shown = await metrics(environment["PAYCORE_PROJECTOR_METRICS_LISTEN"])
        except aiohttp.ClientConnectionError:
            return None
        blocked = shown.get('paycore_projector_blocked{sink="elasticsearch"}')
        leader = shown.get('paycore_projector_leader{sink="elasticsearch"}')
        return leader if blocked == 0 else None

    async def stands_by() -> bool:
        return await leads(environments[1]) == 0

    await until(stands_by)
    assert await leads(environments[0]) == 1
    first.kill()
    await first.wait()
    [key] = await ledger.post([Payment(*accounts, 5)])
    await index.await_position(ledger, TAKES_OVER_WITHIN_S)
    assert key in await index.documents("transfers")
    assert await leads(environments[1]) == 1
    second.terminate()
    assert await asyncio.wait_for(second.wait(), 60) == 0
    await index.assert_equals(ledger)


async def test_it_serves_health_and_metrics_logs_nothing_personal_and_stops_on_sigterm(
    endpoints: Endpoints, ledger: TestLedger, index: TestIndex, settings: ProjectorSettings
) -> None:
    environment = variables(settings, endpoints)
    process = await launch(environment, output=PIPE)
    accounts = await ledger.open_pair()
    details = {"user_id": "canary-user", "description": "canary-text"}
    await ledger.post([Payment(*accounts, 1, "canary" * 6_000, details)])
    await ledger.post([Payment(*accounts, 1, None, details)])
    await index.await_position(ledger)
    async with open_channel(
        environment["PAYCORE_PROJECTOR_LISTEN"], endpoints.tls["projector"], service="projector"
    ) as channel:
        health = health_pb2_grpc.HealthStub(channel)

        async def serving() -> bool:
            reply = await health.Check(health_pb2.HealthCheckRequest(), timeout=5)
            return bool(reply.status == SERVING)

        # The index has the position a moment before the process has heard so.
        await until(serving)
        listed = await health.List(health_pb2.HealthListRequest(), timeout=5)
        told = {name: status.status for name, status in listed.statuses.items()}
        assert told == {"": SERVING, "projector.elasticsearch": SERVING}
    async with open_channel(
        environment["PAYCORE_PROJECTOR_LISTEN"], None, service="projector"
    ) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await health.Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    shown = await metrics(environment["PAYCORE_PROJECTOR_METRICS_LISTEN"])
    sink = 'sink="elasticsearch"'
    assert shown[f"paycore_projector_leader{{{sink}}}"] == 1
    assert shown[f"paycore_projector_blocked{{{sink}}}"] == 0
    assert shown[f"paycore_projector_journal_xid{{{sink}}}"] == await ledger.last_xid()
    assert shown[f"paycore_projector_lag_seconds_count{{{sink}}}"] == 3
    documents = "paycore_projector_documents_total"
    assert shown[f'{documents}{{kind="transfers",result="indexed",{sink}}}'] == 1
    assert shown[f'{documents}{{kind="transfers",result="dead_letter",{sink}}}'] == 1
    refused_for = f'error_type="document_parsing_exception",kind="transfers",{sink}'
    assert shown[f"paycore_projector_dead_letters_total{{{refused_for}}}"] == 1
    assert shown[f"paycore_projector_dead_letters_kept{{{sink}}}"] == 1
    assert 0 <= shown[f"paycore_projector_behind_seconds{{{sink}}}"] < 60
    await ledger.execute("DELETE FROM projection.dead_letters")

    async def seen_to() -> bool:
        shown = await metrics(environment["PAYCORE_PROJECTOR_METRICS_LISTEN"])
        return shown[f"paycore_projector_dead_letters_kept{{{sink}}}"] == 0

    await until(seen_to)
    process.terminate()
    logged, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    assert b"document refused for good" in logged
    assert b"canary" not in logged


def variables(settings: ProjectorSettings, endpoints: Endpoints) -> dict[str, str]:
    tls = endpoints.tls["projector"]
    own = {
        "ENVIRONMENT": "local",
        "LISTEN": f"127.0.0.1:{free_port()}",
        "METRICS_LISTEN": f"127.0.0.1:{free_port()}",
        "TLS_CERTIFICATE": str(tls.certificate),
        "TLS_KEY": str(tls.key),
        "TLS_CA": str(tls.ca),
        "POSTGRES_DSN": settings.postgres_dsn.get_secret_value(),
        "ELASTICSEARCH_URL": settings.elasticsearch_url,
        "ELASTICSEARCH_USER": settings.elasticsearch_user,
        "ELASTICSEARCH_PASSWORD": settings.elasticsearch_password.get_secret_value(),
        "SIGNING_TARGET": settings.signing_target,
        "INDEX_PREFIX": settings.index_prefix,
        "SINKS": settings.sinks,
        "STAND_BY_POLL_S": "0.1",
        "SHUTDOWN_GRACE_S": "4",
    }
    return {f"PAYCORE_PROJECTOR_{name}": value for name, value in own.items()}


async def launch(environment: Mapping[str, str], output: int = DEVNULL) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "projector",
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=output,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip


async def metrics(listen: str) -> dict[str, float]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{listen}/metrics") as reply,
    ):
        text = await reply.text()
    lines = re.findall(r"^(paycore_\S+) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in lines}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

"""Whatever is sent to whichever method by whomever: an answer, and processes as before."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local import LocalStack
from deploy.local.layout import SERVICES
from operations.deployment import find_deployment
from operations.verify.deployed import verify_deployment
from paycore.runtime.channel import OPTIONS, SEPARATE_CONNECTION, open_channel
from paycore.runtime.tls import server_name
from tests.support.callers import Callers, refusal_of
from tests.support.forgery import Authority
from tests.support.fuzzing.calls import Fuzzer, Target
from tests.support.fuzzing.values import Known
from tests.support.ledger_checks import whole_ledger
from tests.support.seeds import rounds
from tests.support.served import served

CALLS = rounds("PAYCORE_FUZZ_CALLS", 1_500)

CALLERS = ("app", "loadtest", "operator", "analyst", "command", "query", "stranger")
"""Whose certificates are shown; besides them one that names nobody."""

MEMORY_SHARE = 0.10 if CALLS >= 10_000 else 0.25
"""How much more memory a process may have at the end than after the warm-up, as a share of it. In a
short round caches are still being filled."""

WARM_UP_SHARE = 0.3

_HEALTH = health_pb2.HealthCheckRequest()


@pytest.fixture
async def targets(services: LocalStack) -> AsyncIterator[list[Target]]:
    """All methods of all servers, with a connection of each caller."""
    endpoints = services.endpoints
    leaf = Authority.of_stack(endpoints.tls["app"]).issue(dns=["nobody"])
    trusted = endpoints.tls["app"].ca.read_bytes()
    nameless = grpc.ssl_channel_credentials(trusted, leaf.key_pem, leaf.pem)
    async with AsyncExitStack() as stack:
        found: list[Target] = []
        for server in SERVICES:
            target = endpoints.target(server)
            channels: dict[str, grpc.aio.Channel] = {}
            for name in CALLERS:
                files = endpoints.tls[name]
                channel = open_channel(target, files, SEPARATE_CONNECTION, service=server)
                channels[name] = await stack.enter_async_context(channel)
            named = (("grpc.ssl_target_name_override", server_name(server)),)
            options = (*OPTIONS, *SEPARATE_CONNECTION, *named)
            channels["nameless"] = await stack.enter_async_context(
                grpc.aio.secure_channel(target, nameless, options)
            )
            for channel in channels.values():
                # So that no handshake is part of a call's time.
                await refusal_of(health_pb2_grpc.HealthStub(channel).Check(_HEALTH, timeout=10))
            found += [
                Target(one, channels)
                for one in await served(target, endpoints.tls["operator"], server)
            ]
        yield found


async def known_to(callers: Callers, rng: random.Random) -> Known:
    """Accounts with money, and what fields of the requests mean."""
    known = Known(rng)
    for client in ("app", "loadtest"):
        for account in await callers.of(client).open(6, balance=100_000):
            known.add("account_id", account)
    for sort, values in {
        "currency": (b"EUR", b"EUR", b"USD"),
        "idempotency_key": tuple(b"fuzz-%d" % number for number in range(20)),
        "owner": (b"someone",),
        "user_id": (b"fuzz-ann", b"fuzz-bob"),
        "institution": (b"bank",),
        "from_institution": (b"bank",),
        "service": (b"", b"paycore.v1.TransferService"),
        "ip_address": (b"10.9.8.7", b"2001:db8::1"),
        "min_position": (b"",),
        "page_token": (b"",),
    }.items():
        for value in values:
            known.add(sort, value)
    return known


def memory(stack: LocalStack) -> dict[tuple[str, int], int]:
    """Resident bytes of each process of the services."""
    found = {}
    for service in SERVICES:
        for pid in stack.part_pids(service):
            fields = dict(
                line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            )
            found[service, pid] = int(fields["VmRSS"].split()[0]) * 1024
    return found


def faults_logged(stack: LocalStack, read_from: dict[str, int]) -> list[str]:
    """Lines since `read_from` that tell of a fault."""
    return [
        f"{service}: {line[:400]}"
        for service in SERVICES
        for line in stack.part_log(service).read_bytes()[read_from[service] :].decode().splitlines()
        if '"level": "error"' in line or "Traceback" in line or '"level": "critical"' in line
    ]


@pytest.mark.timeout(300 + CALLS // 20)
async def test_random_calls_of_every_method_are_answered(
    services: LocalStack, callers: Callers, targets: list[Target], rng: random.Random
) -> None:
    known = await known_to(callers, rng)
    fuzzer = Fuzzer(targets, known, rng)
    logged = {name: services.part_log(name).stat().st_size for name in SERVICES}
    restarts = {name: services.part_restarts(name) for name in SERVICES}
    await fuzzer.run(int(CALLS * WARM_UP_SHARE))
    before = memory(services)
    await fuzzer.run(CALLS - int(CALLS * WARM_UP_SHARE))
    await asyncio.sleep(0.5)
    after = memory(services)
    findings = fuzzer.findings
    print(findings.calls, dict(findings.outcomes))
    print(*distinct(findings.faults), sep="\n")
    print({pid: (before.get(pid), after.get(pid)) for pid in {*before, *after}})
    assert distinct(findings.faults) == []
    assert faults_logged(services, logged) == []
    assert restarts == {name: services.part_restarts(name) for name in SERVICES}
    assert before.keys() == after.keys(), "a process is another than before"
    grown = {
        pid: (before[pid], after[pid])
        for pid in after
        if after[pid] > (1 + MEMORY_SHARE) * before[pid]
    }
    assert grown == {}
    assert findings.calls == CALLS
    assert findings.outcomes["OK"] > CALLS / 100
    await whole_ledger(services.endpoints.postgres_dsn["paycore_audit"])
    report = await verify_deployment(find_deployment(services.endpoints.state))
    assert report.held, report


def distinct(faults: Iterable[str]) -> list[str]:
    """One fault of each method and outcome."""
    found: dict[str, str] = {}
    for fault in faults:
        found.setdefault(" ".join(fault.split()[:4]), fault)
    return list(found.values())

"""Whatever is sent to whichever method by whomever: an answer, and processes as before."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import chain
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local import LocalStack
from deploy.local.certificates import IDENTITIES
from deploy.local.layout import SERVICES
from deploy.local.services import ACCESS_FILE
from operations.deployment import find_deployment
from operations.verify.deployed import verify_deployment
from paycore.runtime.access import AccessTable
from paycore.runtime.channel import OPTIONS, SEPARATE_CONNECTION, open_channel
from paycore.runtime.tls import server_name
from tests.support.callers import Callers, refusal_of
from tests.support.forgery import Authority
from tests.support.fuzzing.calls import AMPLE_S, Fuzzer, Target
from tests.support.fuzzing.findings import Findings
from tests.support.fuzzing.own_lateness import OwnLateness
from tests.support.fuzzing.report import Report
from tests.support.fuzzing.right.prepared import hold_for_review, prepared
from tests.support.fuzzing.right.world import CLIENTS
from tests.support.fuzzing.values import Known
from tests.support.fuzzing.watch import (
    Counts,
    Needs,
    Process,
    Watch,
    after_warm_up,
    counts,
    faults_logged,
    under_way,
)
from tests.support.ledger_checks import whole_ledger
from tests.support.seeds import rounds
from tests.support.served import served

CALLS = rounds("PAYCORE_FUZZ_CALLS", 1_500)

CONNECTIONS = 3
"""Of each caller to each service: the processes that share a port share them."""

LARGE = CALLS >= 10_000
"""Whether there is time for what a short round leaves out."""

SAVED = bool(rounds("PAYCORE_FUZZ_SAVE", 0))
"""Whether the report goes into docs/proof/fuzz.md."""

MORE_MEMORY = 0.10 if CALLS >= 200_000 else 0.15 if CALLS >= 50_000 else 0.25
"""How much more a process may have in the last tenth than in the one after the warm-up, as a share
of that. In a short round caches are still being filled: the command service has what it needs after
some 60,000 calls."""

ASKED_AGAIN = 0.002
"""Share of the calls that may go without an answer in their ample time and have one when they are
made again: on a machine with other work it is this process that was late."""

MORE_DESCRIPTORS = 8 if LARGE else 32
"""Connections to stores and of callers that come and go. In a short round the pools are still being
filled."""

ENDED_WITHIN_S = 5.0
"""When all that callers have left has ended in the services too, in seconds."""

INSISTENCE = 0 if LARGE else 12
"""How often more a method is called that no right call has reached in a short round."""

REVIEWS = 60 if LARGE else 0
"""Payments that are held for a review, by a process of its own: it takes some seconds."""

NEVER_OK = (
    {}
    if REVIEWS
    else dict.fromkeys(
        ("TransferService/ApproveReview", "TransferService/RefuseReview"),
        "no payment waits for a review in a short round",
    )
)
"""Methods that never succeed here, and why."""

_HEALTH = health_pb2.HealthCheckRequest()


@pytest.fixture
async def targets(services: LocalStack) -> AsyncIterator[list[Target]]:
    """All methods of all servers, with connections of each identity and of one that has none."""
    endpoints = services.endpoints
    access = AccessTable.load(ACCESS_FILE)
    leaf = Authority.of_stack(endpoints.tls["app"]).issue(dns=["nobody"])
    trusted = endpoints.tls["app"].ca.read_bytes()
    nameless = grpc.ssl_channel_credentials(trusted, leaf.key_pem, leaf.pem)
    async with AsyncExitStack() as stack:
        found: list[Target] = []
        for server in SERVICES:
            target = endpoints.target(server)
            named = (("grpc.ssl_target_name_override", server_name(server)),)
            options = (*OPTIONS, *SEPARATE_CONNECTION, *named)
            channels: dict[str, list[grpc.aio.Channel]] = defaultdict(list)
            for _ in range(CONNECTIONS):
                for name in IDENTITIES:
                    files = endpoints.tls[name]
                    channels[name].append(
                        open_channel(target, files, SEPARATE_CONNECTION, service=server)
                    )
                channels["nameless"].append(grpc.aio.secure_channel(target, nameless, options))
            for channel in chain(*channels.values()):
                await stack.enter_async_context(channel)
                # So that no handshake is part of a call's time.
                await refusal_of(health_pb2_grpc.HealthStub(channel).Check(_HEALTH, timeout=10))
            for method in await served(target, endpoints.tls["operator"], server):
                service = method.containing_service.full_name
                open_to_all = not service.startswith("paycore.")
                allowed = [
                    name
                    for name in IDENTITIES
                    if open_to_all or access.allows(name, service, method.name)
                ]
                found.append(Target(server, method, channels, allowed))
        yield found


async def known_to(callers: Callers, rng: random.Random) -> Known:
    """Accounts with money, and what fields of the requests mean."""
    known = Known(rng)
    for client in CLIENTS:
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


@pytest.mark.timeout(300 + CALLS // 10)
async def test_random_calls_of_every_method_are_answered(
    services: LocalStack,
    callers: Callers,
    targets: list[Target],
    rng: random.Random,
    tmp_path: Path,
) -> None:
    known = await known_to(callers, rng)
    world = await prepared(callers, rng)
    for books in world.books.values():
        known.spare((*books.accounts, books.approving, books.external))
    if REVIEWS:
        await hold_for_review(world, services.endpoints, tmp_path / "reviews.log", REVIEWS)
    logged = {name: services.part_log(name).stat().st_size for name in SERVICES}
    restarts = {name: services.part_restarts(name) for name in SERVICES}
    earlier = await counts(services)
    began = time.monotonic()
    async with OwnLateness() as own_lateness, Watch(services) as watch:
        fuzzer = Fuzzer(targets, known, world, own_lateness, rng)
        await fuzzer.run(CALLS - await fuzzer.begin())
        added = await fuzzer.insist(INSISTENCE)
    took_s = time.monotonic() - began
    left = await under_way(services, ENDED_WITHIN_S)
    counted = (await counts(services)).since(earlier)
    findings = fuzzer.findings
    report = Report(findings, watch.seen, counted, own_lateness, took_s)
    report.show()

    assert findings.distinct_faults == []
    assert faults_logged(services, logged) == []
    assert findings.calls == CALLS + added
    assert findings.asked_again <= CALLS * ASKED_AGAIN
    assert sorted({target.name.partition(" ")[2] for target in targets} - succeeded(findings)) == (
        sorted(NEVER_OK)
    ), "a method never succeeded"
    assert counted.internal == {}
    assert uncounted(findings, targets, counted) == {}, "calls that no service counted"
    assert counted.seconds[float("inf")] == counted.seconds[AMPLE_S], "handlers outlived deadlines"
    assert left == 0, "calls that have not ended"
    assert restarts == {name: services.part_restarts(name) for name in SERVICES}
    assert watch.seen.keys() == {(s, pid) for s in SERVICES for pid in services.part_pids(s)}
    assert grown(watch.seen) == {}
    await whole_ledger(services.endpoints.postgres_dsn["paycore_audit"])
    verified = await verify_deployment(find_deployment(services.endpoints.state))
    assert verified.held, verified
    if SAVED:
        await report.save(services.endpoints)


def succeeded(findings: Findings) -> set[str]:
    """Methods that were called rightly and answered OK."""
    return {name.partition(" ")[2] for name, times in findings.right.items() if times}


def uncounted(
    findings: Findings, targets: Sequence[Target], counted: Counts
) -> Mapping[str, tuple[int, int]]:
    """Methods of ours that answered OK more often than their processes have counted: where there
    are such, the count of what went wrong is not to be believed either."""
    return {
        target.name: (heard, said)
        for target in targets
        if target.path.startswith("/paycore.")
        and (heard := findings.outcomes[target.name][grpc.StatusCode.OK])
        > (said := counted.answers[target.path[1:], "OK"])
    }


def grown(seen: Mapping[Process, Sequence[Needs]]) -> dict[Process, tuple[Needs, Needs]]:
    """Processes that need more and more."""
    return {
        process: (first, last)
        for process, needs in seen.items()
        for first, last in [after_warm_up(needs)]
        if last.resident > (1 + MORE_MEMORY) * first.resident
        or last.descriptors > first.descriptors + MORE_DESCRIPTORS
    }

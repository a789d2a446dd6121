"""What happens is seen from outside: each thing is caused, and read from the endpoints."""

from __future__ import annotations

import asyncio
import math
import os
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from typer.testing import CliRunner

from deploy.local import LocalStack
from deploy.local.endpoints import DATABASE, with_place
from deploy.local.layout import SERVICES
from deploy.local.ports import PortClaims
from operations.cli.app import app as paycore
from paycore.client import PaycoreClient, Pin
from paycore.client.sealing import SealingKey
from paycore.domain.step_up import PaymentIntent
from paycore.runtime.id_numbers import LEASE_S, SAFETY_S
from paycore.runtime.metric_definitions import Named
from paycore.signing.v1 import signing_service_pb2 as signing
from paycore.v1 import account_service_pb2, actor_pb2, step_up_pb2
from paycore.v1 import transfer_service_pb2 as transfers
from signing_service.policy import MAX_FAILURES
from tests.contract.conftest import World
from tests.support.callers import TIMEOUT_S, Caller, Callers, payment, refusal_of
from tests.support.command_process import command_process
from tests.support.databases import own_database
from tests.support.postgres_proxy import PostgresProxy
from tests.support.scraped import Shown, parsed, scrape, shown_when
from tests.support.tcp_proxy import TcpProxy
from tools.metrics import definitions

SUBMIT = "paycore.v1.TransferService/SubmitTransfer"
ABOVE_THRESHOLD = 150_000
PIN, WRONG = Pin("739154"), Pin("620483")
LOOK_UPS = 20
"""More than the pool for look-ups has connections."""

POOL = {"pool": "reading"}
SEEN_BY_PARTS = ("_bucket", "_count", "_sum", "_created")


@dataclass(frozen=True)
class Own:
    """A command service of these tests' own, and the ways to what it needs."""

    url: str
    database: str
    """DSN of the server's superuser."""
    audit: str
    """DSN of who verifies."""
    callers: Callers
    postgres: TcpProxy
    redis: TcpProxy
    signing: TcpProxy
    payer: int
    payee: int

    async def shown(self) -> Shown:
        return await scrape(self.url)


@pytest.fixture(scope="module")
async def own(
    services: LocalStack, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Own]:
    endpoints = services.endpoints
    redis_at = urlsplit(endpoints.redis_url)
    signing_host, _, signing_port = endpoints.signing_target.rpartition(":")
    claims = PortClaims()
    (port,) = claims.claim()
    try:
        with own_database(endpoints, template) as database:
            async with (
                PostgresProxy(database.dsn("command")) as postgres,
                TcpProxy(redis_at.hostname or "", redis_at.port or 0) as redis,
                TcpProxy(signing_host, int(signing_port)) as signer,
                command_process(
                    endpoints,
                    tmp_path_factory.mktemp("metrics") / "command.log",
                    POSTGRES_DSN=postgres.dsn,
                    REDIS_URL=urlunsplit(
                        redis_at._replace(
                            netloc=f"{redis_at.netloc.rpartition(':')[0]}:{redis.port}"
                        )
                    ),
                    SIGNING_TARGET=f"127.0.0.1:{signer.port}",
                    METRICS_LISTEN=f"127.0.0.1:{port}",
                ) as (target, _),
                Callers(endpoints, command_target=target) as callers,
            ):
                _, payer, payee = await callers.of("app").open(2, balance=100_000_000)
                url = f"http://127.0.0.1:{port}/metrics"
                yield Own(
                    url=url,
                    database=database.admin_dsn,
                    audit=database.dsn("audit"),
                    callers=callers,
                    postgres=postgres,
                    redis=redis,
                    signing=signer,
                    payer=payer,
                    payee=payee,
                )
    finally:
        claims.release()


async def approval(
    caller: Caller, debit: int, credit: int, pin: Pin
) -> transfers.SubmitTransferRequest:
    """A payment that needs approval, with a PIN of its payer sealed for it."""
    reply = await caller.signing.GetPublicKeys(signing.GetPublicKeysRequest(), timeout=TIMEOUT_S)
    key = next(
        key for key in reply.keys if key.purpose == signing.KEY_PURPOSE_SEALING and key.current
    )
    intent = PaymentIntent(
        kind="TRANSFER",
        debit_account=debit,
        credit_account=credit,
        amount=ABOVE_THRESHOLD,
        currency="EUR",
        client="app",
        idempotency_key=secrets.token_hex(12),
        signed_at_us=time.time_ns() // 1_000,
    )
    sealed = SealingKey(key.key_id, key.public_key).for_payment(pin, intent)
    step_up = step_up_pb2.StepUp(sealed_pin=step_up_pb2.SealedPin(**sealed._asdict()))
    step_up.sign_time.FromMicroseconds(intent.signed_at_us)
    return payment(
        debit, credit, ABOVE_THRESHOLD, idempotency_key=intent.idempotency_key, step_up=step_up
    )


async def test_outcomes_calls_and_batches_are_counted_as_they_were(
    services: LocalStack, app: Caller, world: World
) -> None:
    urls = services.endpoints.metrics_urls["command"]
    before = await scrape(*urls)
    good = payment(world.payer, world.payee, 1)
    assert await refusal_of(app.submit(good)) is None
    assert await refusal_of(app.submit(good)) is None
    for refused, reason in (
        (payment(world.payer, world.payee, 60_000_000), "STEP_UP_REQUIRED"),
        (payment(world.payee, world.payer, 90_000), "INSUFFICIENT_FUNDS"),
        (payment(world.payer, world.payee, 1, currency="eur"), "INVALID_FIELD"),
    ):
        refusal = await refusal_of(app.submit(refused))
        assert refusal is not None
        assert refusal.reason == reason
    after = await scrape(*urls)

    def more(name: str, **labels: str) -> float:
        return after.total(name, **labels) - before.total(name, **labels)

    reasons = ("POSTED", "REPLAYED", "INSUFFICIENT_FUNDS", "STEP_UP_REQUIRED", "INVALID_FIELD")
    outcomes = "paycore_outcomes_total"
    assert [more(outcomes, reason=reason) for reason in reasons] == [1, 1, 1, 1, 1]
    assert more(outcomes) == 5
    calls = "paycore_calls_total"
    answers = ("OK", "INSUFFICIENT_FUNDS", "STEP_UP_REQUIRED", "INVALID_FIELD", "INTERNAL")
    assert [more(calls, method=SUBMIT, reason=one) for one in answers] == [2, 1, 1, 1, 0]
    assert more("paycore_call_seconds_count", method=SUBMIT) == 5
    assert 0 < more("paycore_call_seconds_sum", method=SUBMIT) < 5 * TIMEOUT_S
    # All but the invalid one were decided in batches, one after the other.
    assert more("paycore_batch_size_sum") == 4
    assert more("paycore_batch_size_count") == more("paycore_queue_wait_seconds_count") == 4
    assert after.total("paycore_queue_depth") == 0


async def test_a_batch_that_waits_for_rows_of_others_is_counted_as_tried_again(
    services: LocalStack, app: Caller, world: World
) -> None:
    urls = services.endpoints.metrics_urls["command"]
    name = "paycore_batch_retries_total"
    before = (await scrape(*urls)).total(name, cause="held")
    connection = await asyncpg.connect(
        with_place(services.endpoints.postgres_admin_dsn, database=DATABASE)
    )
    try:
        async with connection.transaction():
            await connection.execute(
                "SELECT FROM ledger.accounts WHERE id = $1 FOR UPDATE", world.payer
            )
            paying = asyncio.create_task(app.submit(payment(world.payer, world.payee, 1)))
            await shown_when(lambda shown: shown.total(name, cause="held") > before, *urls)
    finally:
        await connection.close()
    assert (await paying).transfer.id


async def test_wrong_pins_and_the_lock_they_lead_to_are_counted(
    services: LocalStack, app: Caller
) -> None:
    endpoints = services.endpoints
    user = f"user-{secrets.token_hex(6)}"
    _, payer, payee = await app.open(2, balance=10_000_000, owner=user)
    async with PaycoreClient(
        endpoints.command_target,
        query_target=endpoints.query_target,
        signing_target=endpoints.signing_target,
        tls=endpoints.tls["app"],
    ) as client:
        await client.enroll_pin(user, PIN)
    urls = (*endpoints.metrics_urls["signing"], *endpoints.metrics_urls["command"])
    before = await scrape(*urls)
    for _ in range(MAX_FAILURES):
        refusal = await refusal_of(app.submit(await approval(app, payer, payee, WRONG)))
        assert refusal is not None
        assert refusal.reason in ("PIN_INCORRECT", "PIN_LOCKED")
    refusal = await refusal_of(app.submit(await approval(app, payer, payee, PIN)))
    assert refusal is not None
    assert refusal.reason == "PIN_LOCKED"
    after = await scrape(*urls)

    def more(name: str, **labels: str) -> float:
        return after.total(name, **labels) - before.total(name, **labels)

    events = "paycore_signing_security_events_total"
    assert more(events, event="PIN_INCORRECT") == MAX_FAILURES
    assert more(events, event="PIN_LOCKED") == 1
    wrong, locked = (
        more("paycore_signing_verdicts_total", outcome=outcome)
        for outcome in ("PIN_INCORRECT", "PIN_LOCKED")
    )
    assert wrong + locked == MAX_FAILURES + 1
    asked = "paycore_command_signer_seconds_count"
    assert more(asked, reason="PIN_INCORRECT") == wrong
    assert more(asked, reason="PIN_LOCKED") == locked


async def test_sinks_tell_how_far_behind_they_are_and_what_holds_the_journal_up(
    services: LocalStack, app: Caller, world: World
) -> None:
    urls = services.endpoints.metrics_urls["projector"]
    age, behind = "paycore_projector_watermark_age_seconds", "paycore_projector_behind_seconds"
    sinks = ("elasticsearch", "seal", "stream", "webhooks")
    told = ("elasticsearch", "seal", "stream")
    before = await scrape(*urls)
    await app.submit(payment(world.payer, world.payee, 1))
    calm = await shown_when(
        lambda shown: (
            all(
                shown.total("paycore_projector_lag_seconds_count", sink=sink)
                > before.total("paycore_projector_lag_seconds_count", sink=sink)
                for sink in told
            )
            and max(shown.find(behind)) < 1
        ),
        *urls,
    )
    for sink in sinks:
        assert calm.one("paycore_projector_leader", sink=sink) == 1
        assert calm.one("paycore_projector_blocked", sink=sink) == 0
        assert calm.one("paycore_projector_dead_letters_kept", sink=sink) == 0
    connection = await asyncpg.connect(
        with_place(services.endpoints.postgres_admin_dsn, database=DATABASE)
    )
    try:
        async with connection.transaction():
            await connection.fetchval("SELECT pg_current_xact_id()::text")
            await shown_when(lambda shown: min(shown.find(age)) > 2, *urls)
            assert min((await scrape(*urls)).find(behind)) > 2
    finally:
        await connection.close()
    await shown_when(lambda shown: max(*shown.find(age), *shown.find(behind)) < 1, *urls)


async def test_redis_away_is_a_breaker_that_is_open_and_decisions_of_the_fallback(
    own: Own,
) -> None:
    async def pay() -> None:
        actor = actor_pb2.Actor(
            user_id=secrets.token_hex(4), device_id=secrets.token_hex(8), ip_address="192.0.2.7"
        )
        await own.callers.of("app").submit(payment(own.payer, own.payee, 1, actor=actor))

    state = {"breaker": "redis"}
    await pay()
    before = await shown_when(
        lambda shown: shown.one("paycore_breaker_state", **state) == 0, own.url
    )
    own.redis.refusing = True
    await own.redis.cut()
    try:
        for _ in range(5):
            await pay()
        away = await own.shown()
    finally:
        own.redis.refusing = False
    assert away.one("paycore_breaker_state", **state) == 2
    decided = "paycore_limit_decisions_total"
    for limit in ("address", "user", "device"):
        labels = {"limit": limit, "decision": "admitted", "by": "fallback"}
        assert away.total(decided, **labels) - before.total(decided, **labels) == 5
    opened = {**state, "to": "open"}
    changes = "paycore_breaker_changes_total"
    assert away.total(changes, **opened) == before.total(changes, **opened) + 1
    await shown_when(lambda shown: shown.one("paycore_breaker_state", **state) == 1, own.url)
    await pay()
    assert (await own.shown()).one("paycore_breaker_state", **state) == 0


async def test_the_signing_service_away_is_a_breaker_that_is_open(own: Own) -> None:
    app, state = own.callers.of("app"), {"breaker": "signing"}
    assert (await own.shown()).one("paycore_breaker_state", **state) == 0
    own.signing.refusing = True
    await own.signing.cut()
    try:
        give_up_s = time.monotonic() + 30
        while (await own.shown()).one("paycore_breaker_state", **state) != 2:
            assert time.monotonic() < give_up_s
            refusal = await refusal_of(app.submit(await approval(app, own.payer, own.payee, PIN)))
            assert refusal is not None
            assert refusal.reason == "SIGNER_UNAVAILABLE"
        shown = await own.shown()
    finally:
        own.signing.refusing = False
    asked = "paycore_command_signer_seconds_count"
    assert shown.total(asked, reason="SIGNER_UNAVAILABLE") > 0
    assert shown.total("paycore_outcomes_total", reason="SIGNER_UNAVAILABLE") == shown.total(
        asked, reason="SIGNER_UNAVAILABLE"
    )


async def test_a_pool_without_a_free_connection_tells_who_waits_and_for_how_long(
    own: Own,
) -> None:
    app = own.callers.of("app")
    before = await own.shown()
    most = before.one("paycore_database_pool_connections_max", **POOL)
    assert most < LOOK_UPS
    connection = await asyncpg.connect(own.database)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE ledger.accounts IN ACCESS EXCLUSIVE MODE")
            request = account_service_pb2.GetAccountRequest(account_id=own.payer)
            asking = [
                asyncio.create_task(refusal_of(app.accounts.GetAccount(request, timeout=TIMEOUT_S)))
                for _ in range(LOOK_UPS)
            ]
            full = await shown_when(
                lambda shown: shown.one("paycore_database_pool_waiting", **POOL) >= 10, own.url
            )
            began_s = time.monotonic()
            await asyncio.sleep(0.3)
            waited_s = time.monotonic() - began_s
    finally:
        await connection.close()
    assert await asyncio.gather(*asking) == [None] * LOOK_UPS
    after = await own.shown()
    assert full.one("paycore_database_pool_connections", **POOL) == most
    assert full.one("paycore_database_pool_connections_in_use", **POOL) == most
    assert after.one("paycore_database_pool_waiting", **POOL) == 0
    assert after.one("paycore_database_pool_connections_in_use", **POOL) <= 1

    def more(name: str) -> float:
        return after.total(name, **POOL) - before.total(name, **POOL)

    count = more("paycore_database_pool_wait_seconds_count")
    assert count >= 10
    assert more("paycore_database_pool_wait_seconds_sum") > 10 * waited_s


async def test_the_id_lease_runs_down_while_the_database_is_away(own: Own) -> None:
    left, failed = "paycore_id_lease_remaining_seconds", "paycore_id_lease_renewals_failed_total"
    connection = await asyncpg.connect(own.database)
    try:
        leased = await connection.fetch(
            "SELECT instance FROM ledger.id_leases WHERE expires_at > now()"
        )
    finally:
        await connection.close()
    before = await own.shown()
    assert [row["instance"] for row in leased] == before.find("paycore_id_lease_instance")
    assert 0 < before.one(left) <= LEASE_S - SAFETY_S
    assert before.find(failed, cause="unreachable") == [0]
    own.postgres.refusing = True
    await own.postgres.cut()
    try:
        away = await shown_when(lambda shown: shown.one(failed, cause="unreachable") > 0, own.url)
    finally:
        own.postgres.refusing = False
    assert 0 < away.one(left) < LEASE_S - SAFETY_S - 1
    await shown_when(lambda shown: shown.one(left) > LEASE_S - SAFETY_S - 2, own.url)


async def test_a_verification_leaves_its_result_where_node_exporter_reads_it(
    own: Own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A deployment of which only the ledger is named.
    monkeypatch.setenv("PAYCORE_COMMAND_TARGET", "127.0.0.1:1")
    monkeypatch.setenv("PAYCORE_INSECURE", "true")
    monkeypatch.setenv("PAYCORE_AUDIT_DSN", own.audit)

    async def verify(*more: str) -> int:
        # The command runs an event loop of its own.
        arguments = ["verify", "--metrics", str(tmp_path), *more]
        return (await asyncio.to_thread(CliRunner().invoke, paycore, arguments)).exit_code

    def told(scope: str) -> Shown:
        return parsed([(tmp_path / f"paycore_verify_{scope}.prom").read_text()])

    assert await verify() == 0
    whole = told("whole")
    assert whole.one("paycore_verify_held", scope="whole") == 1
    assert whole.one("paycore_verify_examined", rule="sides") > 0
    assert whole.total("paycore_verify_violations") == 0
    assert 0 <= time.time() - whole.one("paycore_verify_timestamp_seconds") < 60
    assert 0 < whole.one("paycore_verify_duration_seconds") < 60
    assert await verify("--since-last") == 0
    assert told("since_last").one("paycore_verify_held") == 1
    assert told("whole") == whole
    connection = await asyncpg.connect(own.database)
    try:
        await connection.execute("ALTER TABLE ledger.accounts DISABLE TRIGGER USER")
    finally:
        await connection.close()
    assert await verify() == 1
    broken = told("whole")
    assert broken.one("paycore_verify_held") == 0
    assert broken.one("paycore_verify_violations", rule="triggers") > 0
    assert sorted(os.listdir(tmp_path)) == [
        "paycore_verify_since_last.prom",
        "paycore_verify_whole.prom",
    ]


async def test_what_the_endpoints_show_is_what_the_page_says(services: LocalStack) -> None:
    every = await asyncio.gather(*(asyncio.to_thread(definitions, one) for one in SERVICES))
    for service, defined in zip(SERVICES, every, strict=True):
        shown = await scrape(*services.endpoints.metrics_urls[service])
        for sample in shown.samples:
            if not sample.name.startswith("paycore_"):
                continue
            one = defined.get(sample.name)
            if one is None:
                whole = next(
                    sample.name.removesuffix(part)
                    for part in SEEN_BY_PARTS
                    if sample.name.endswith(part)
                )
                one = defined.get(whole) or defined[f"{whole}_total"]
            labels = {name: value for name, value in sample.labels.items() if name != "le"}
            assert labels.keys() == one.labels.keys(), sample
            for name, value in labels.items():
                known = one.labels[name]
                assert isinstance(known, Named) or value in known, sample
        assert not math.isnan(shown.total("process_cpu_seconds_total"))

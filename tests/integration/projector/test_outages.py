"""The feed survives what it depends on, and its own death, at any point."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable

from aiohttp import web
from prometheus_client import REGISTRY

from deploy.local import LocalStack
from projector.settings import ProjectorSettings
from tests.integration.projector.conftest import Running
from tests.integration.projector.index import TestIndex, until
from tests.integration.projector.ledger import Payment, TestLedger, random_payments
from tests.support.elastic_proxy import FaultyProxy, Gate, refusal

Start = Callable[[ProjectorSettings], Running]


def retries(step: str, cause: str) -> float:
    labels = {"sink": "elasticsearch", "step": step, "cause": cause}
    return REGISTRY.get_sample_value("paycore_projector_retries_total", labels) or 0.0


def results(kind: str, result: str) -> float:
    labels = {"sink": "elasticsearch", "kind": kind, "result": result}
    return REGISTRY.get_sample_value("paycore_projector_documents_total", labels) or 0.0


async def test_cut_off_anywhere_and_resumed_nothing_is_missing_or_doubled(
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
    rng: random.Random,
) -> None:
    accounts = await ledger.open_accounts(20)
    small = settings.model_copy(update={"page_entries": 20, "bulk_documents": 7})
    writing = asyncio.create_task(_write(ledger, accounts, rng, 150))
    while not writing.done():
        running = start(small)
        await asyncio.sleep(rng.uniform(0.0, 0.6))
        await running.cut()
    await writing
    start(small)
    await index.await_position(ledger)
    await index.assert_equals(ledger)


async def test_the_checkpoint_stays_while_a_bulk_is_not_accepted(
    ledger: TestLedger, index: TestIndex, settings: ProjectorSettings, start: Start
) -> None:
    async with FaultyProxy(settings.elasticsearch_url) as proxy:
        running = start(settings.model_copy(update={"elasticsearch_url": proxy.url}))
        accounts = await ledger.open_pair()
        await index.await_position(ledger)
        before = await ledger.checkpoint_xid()
        assert before == await ledger.last_xid()

        async def refuse(request: web.Request, _: bytes) -> web.StreamResponse | None:
            return refusal(503) if request.path == "/_bulk" else None

        proxy.fault = refuse
        failed = retries("bulk", "503")
        await ledger.post([Payment(*accounts, 9)])

        async def retried() -> bool:
            return retries("bulk", "503") >= failed + 3

        await until(retried)
        assert await ledger.checkpoint_xid() == before
        await running.cut()
    start(settings)
    await index.await_position(ledger)
    await index.assert_equals(ledger)


async def test_refused_requests_and_refused_items_are_sent_again(
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
    rng: random.Random,
) -> None:
    faults = [503, 429, 502, 0, 0]

    async def fail(request: web.Request, body: bytes) -> web.StreamResponse | None:
        if request.path != "/_bulk" or not faults or rng.random() < 0.3:
            return None
        status = faults.pop(0)
        if status:
            return refusal(status)
        item = {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": ""}}
        items = [{"index": item}] * (body.count(b"\n") // 2)
        return refusal(200, json.dumps({"errors": True, "items": items}).encode())

    before = {cause: retries("bulk", cause) for cause in ("503", "429", "502")}
    items_before = retries("bulk items", "429")
    async with FaultyProxy(settings.elasticsearch_url) as proxy:
        proxy.fault = fail
        running = start(settings.model_copy(update={"elasticsearch_url": proxy.url}))
        accounts = await ledger.open_accounts(6)
        while faults:
            await ledger.post(random_payments(rng, accounts, 3))
            await asyncio.sleep(0.05)
        await index.await_position(ledger)
        await index.assert_equals(ledger)
        await running.stop()
    assert {cause: retries("bulk", cause) - was for cause, was in before.items()} == {
        "503": 1, "429": 1, "502": 1,
    }  # fmt: skip
    assert retries("bulk items", "429") - items_before == 2


async def test_replies_that_are_lost_double_nothing(
    ledger: TestLedger, index: TestIndex, settings: ProjectorSettings, start: Start
) -> None:
    async with FaultyProxy(settings.elasticsearch_url) as proxy:
        running = start(settings.model_copy(update={"elasticsearch_url": proxy.url}))
        accounts = await ledger.open_pair()
        await index.await_position(ledger)
        applied = results("transfers", "already_applied")
        proxy.drop_replies = 2
        await ledger.post([Payment(*accounts, 9)] * 3)
        await index.await_position(ledger)
        await index.assert_equals(ledger)
        assert results("transfers", "already_applied") == applied + 3
        await running.stop()


async def test_elasticsearch_stopped_and_started_the_feed_resumes(
    stack: LocalStack,
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
    rng: random.Random,
) -> None:
    running = start(settings)
    accounts = await ledger.open_accounts(6)
    await index.await_position(ledger)
    await asyncio.to_thread(stack.kill_part, "elasticsearch")
    try:
        for _ in range(10):
            await ledger.post(random_payments(rng, accounts, 2))

        async def obstructed() -> bool:
            return not running.readiness.ready

        await until(obstructed)
        assert await ledger.checkpoint_xid() < await ledger.last_xid()
    finally:
        await asyncio.to_thread(stack.start_part, "elasticsearch")
    await index.await_position(ledger)
    await index.assert_equals(ledger)
    assert running.readiness.ready


async def test_postgresql_restarted_the_feed_resumes(
    stack: LocalStack,
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
    rng: random.Random,
) -> None:
    running = start(settings)
    accounts = await ledger.open_accounts(6)
    await ledger.post(random_payments(rng, accounts, 5))
    await asyncio.to_thread(stack.kill_part, "postgres")

    async def obstructed() -> bool:
        return not running.readiness.ready

    try:
        await until(obstructed)
    finally:
        await asyncio.to_thread(stack.start_part, "postgres")
    await ledger.pool.expire_connections()
    await ledger.post(random_payments(rng, accounts, 5))
    await index.await_position(ledger)
    await index.assert_equals(ledger)
    assert running.readiness.ready


async def test_a_stop_while_elasticsearch_does_not_answer_ends_in_time(
    ledger: TestLedger, index: TestIndex, settings: ProjectorSettings, start: Start
) -> None:
    async with FaultyProxy(settings.elasticsearch_url) as proxy:
        running = start(settings.model_copy(update={"elasticsearch_url": proxy.url}))
        accounts = await ledger.open_pair()
        await index.await_position(ledger)
        proxy.fault = gate = Gate("/_bulk")
        await ledger.post([Payment(*accounts, 1)])
        await gate.reached.wait()
        await asyncio.wait_for(running.stop(), settings.shutdown_grace_s + 10)
        gate.open.set()


async def _write(ledger: TestLedger, accounts: list[int], rng: random.Random, times: int) -> None:
    for _ in range(times):
        await ledger.post(random_payments(rng, accounts, rng.randint(1, 5)))
        await asyncio.sleep(rng.uniform(0.0, 0.04))


async def test_an_index_dropped_while_it_is_asked_for_loses_none_of_the_others(
    ledger: TestLedger, index: TestIndex, settings: ProjectorSettings, start: Start
) -> None:
    await ledger.open_pair()
    first = start(settings)
    await index.await_position(ledger)
    await first.stop()
    there = await identities(index)
    gone = {"type": "index_not_found_exception", "reason": "no such index [x]"}
    answer = json.dumps({"error": {"root_cause": [gone], **gone}, "status": 404}).encode()
    left = 3

    async def drop(request: web.Request, _: bytes) -> web.StreamResponse | None:
        nonlocal left
        if "/_alias/" not in request.path or not left:
            return None
        left -= 1
        return refusal(404, answer)

    async with FaultyProxy(settings.elasticsearch_url) as proxy:
        proxy.fault = drop
        before = retries("start", "incomplete")
        running = start(settings.model_copy(update={"elasticsearch_url": proxy.url}))
        await ledger.open_pair()
        await index.await_position(ledger)
        await running.stop()
    assert retries("start", "incomplete") == before + 3
    assert await identities(index) == there
    await index.assert_equals(ledger)


async def identities(index: TestIndex) -> dict[str, str]:
    """What the indices are, beside their names: one that was made anew has another."""
    told = await index.client.indices.get_settings(index=f"{index.prefix}-*")
    return {name: told[name]["settings"]["index"]["uuid"] for name in told}

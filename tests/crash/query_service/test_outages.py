"""What callers see when a store is away: a retryable error, soon, and answers again afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import grpc
import pytest

from deploy.local import LocalStack
from paycore.domain.errors import Reason
from paycore.domain.position import Position
from tests.integration.query_service.calls import TIMEOUT_S, Caller, refused
from tests.integration.query_service.conftest import Index
from tests.integration.query_service.ledger_model import AccountRow, Ledger

Connect = Callable[[str], grpc.aio.Channel]


@pytest.fixture
async def account(ledger: Ledger, index: Index) -> AccountRow:
    account = ledger.open_account(currency="EUR")
    await index.add(ledger.documents())
    return account


@contextmanager
def frozen(pids: tuple[int, ...]) -> Iterator[None]:
    """The processes answer nothing and refuse nothing."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_a_hanging_index_is_unavailable_before_the_deadline(
    stack: LocalStack, account: AccountRow, connect: Connect
) -> None:
    analyst = Caller.on(connect("analyst"))
    await analyst.page(account.id)
    with frozen(stack.part_pids("elasticsearch")):
        calls = (
            analyst.transfer(1, timeout=3),
            analyst.balance(account.id, timeout=3),
            analyst.page(account.id, timeout=3),
            analyst.counterparties(account.id, timeout=3),
            analyst.volume(0, 60_000_000, timeout=3, interval=1),
            analyst.kinds(timeout=3),
            analyst.institutions(timeout=3),
            analyst.activity(account.id, 0, 60_000_000, timeout=3, interval=1),
            analyst.declines(timeout=3),
            analyst.latencies(timeout=3),
        )
        # Past its deadline a call would end without any reason of ours.
        errors = await asyncio.gather(*map(refused, calls))
    assert {error.reason for error in errors} == {Reason.INDEX_UNAVAILABLE}
    assert all(error.retry_after_ms for error in errors)
    await analyst.page(account.id)


async def test_a_call_that_waits_for_a_hanging_index_ends_before_the_deadline(
    stack: LocalStack, account: AccountRow, connect: Connect
) -> None:
    analyst = Caller.on(connect("analyst"))
    with frozen(stack.part_pids("elasticsearch")):
        wanted = Position(2**31, 1, 1).encode()
        error = await refused(analyst.balance(account.id, timeout=3, min_position=wanted))
    assert error.reason in (Reason.INDEX_UNAVAILABLE, Reason.INDEX_BEHIND)


async def test_a_stopped_index_is_unavailable_at_once_and_answers_when_it_is_back(
    stack: LocalStack, account: AccountRow, index: Index, connect: Connect
) -> None:
    analyst = Caller.on(connect("analyst"))
    await analyst.page(account.id)
    await asyncio.to_thread(stack.stop_part, "elasticsearch")
    try:
        await refused(analyst.page(account.id))
        started = time.monotonic()
        calls = (
            analyst.transfer(1),
            analyst.balance(account.id),
            analyst.page(account.id),
            analyst.counterparties(account.id),
            analyst.volume(0, 60_000_000, interval=1),
            analyst.kinds(),
            analyst.institutions(),
            analyst.activity(account.id, 0, 60_000_000, interval=1),
            analyst.declines(),
            analyst.latencies(),
            analyst.balance(account.id, min_position=Position(2**31, 1, 1).encode()),
        )
        errors = await asyncio.gather(*map(refused, calls))
        assert time.monotonic() - started < TIMEOUT_S / 2
    finally:
        await asyncio.to_thread(stack.start_part, "elasticsearch")
    assert {error.reason for error in errors} == {Reason.INDEX_UNAVAILABLE}
    assert all(error.retry_after_ms for error in errors)
    await index.client.cluster.health(wait_for_status="yellow", timeout="30s")
    async with asyncio.timeout(60):
        while await is_refused(analyst.page(account.id)):
            await asyncio.sleep(0.1)
    await analyst.page(account.id)


async def is_refused(call: Awaitable[object]) -> bool:
    try:
        await call
    except grpc.aio.AioRpcError:
        return True
    return False


async def test_reads_go_on_for_a_while_without_postgresql(
    stack: LocalStack, account: AccountRow, connect: Connect
) -> None:
    analyst = Caller.on(connect("analyst"))
    await asyncio.to_thread(stack.stop_part, "postgres")
    try:
        await asyncio.sleep(2.5)
        assert (await analyst.balance(account.id)).account_id == account.id
    finally:
        await asyncio.to_thread(stack.start_part, "postgres")

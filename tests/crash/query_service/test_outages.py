"""What callers see when a store is away: history from the other, else a retryable error, soon.

PAYCORE_INDEX_AWAY_SECONDS says for how long Elasticsearch is gone at least.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
import psycopg
import pytest

from deploy.local import LocalStack
from paycore.domain.errors import Reason
from paycore.domain.position import Position
from paycore.v1 import history_service_pb2
from tests.integration.query_service.calls import TIMEOUT_S, Caller, at, refused
from tests.integration.query_service.conftest import Index
from tests.integration.query_service.ledger_model import AccountRow, Ledger
from tests.support.databases import OwnDatabase
from tests.support.seeds import rounds

Connect = Callable[[str], grpc.aio.Channel]

NOVEL = history_service_pb2.SearchTransfersRequest(text="novel")

AWAY_S = rounds("PAYCORE_INDEX_AWAY_SECONDS", 0)
"""How long Elasticsearch is gone at least."""

pytestmark = pytest.mark.timeout(300 + AWAY_S)


@pytest.fixture
async def account(ledger: Ledger, index: Index, ledger_database: OwnDatabase) -> AccountRow:
    """One that both the index and the ledger have."""
    account = ledger.open_account(currency="EUR")
    await index.add(ledger.documents())
    with psycopg.connect(ledger_database.dsn("owner")) as connection:
        connection.execute(
            "INSERT INTO ledger.accounts"
            " (id, kind, currency, owner, institution, opened_by, created_at_us)"
            " VALUES (%s, 'CUSTOMER', 'EUR', 'someone', %s, %s, 1)",
            (account.id, account.institution, account.opened_by),
        )
    return account


async def history_is_from(source: str, analyst: Caller, account: int, within_s: float) -> None:
    """Balance now and then, page and statement come from `source`, each within `within_s`."""
    asked = {"timeout": within_s}
    for answer in (
        analyst.balance(account, **asked),
        analyst.balance(account, at_time=at(60_000_000), **asked),
        analyst.page(account, **asked),
        analyst.statement(account, 0, 60_000_000, **asked),
    ):
        assert (await answer).freshness.source == source
    error = await refused(analyst.transfer(1, **asked))
    assert error.reason is Reason.TRANSFER_NOT_FOUND


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


async def test_while_the_index_hangs_history_is_read_from_the_ledger(
    stack: LocalStack, account: AccountRow, connect: Connect
) -> None:
    analyst = Caller.on(connect("analyst"))
    await analyst.page(account.id)
    with frozen(stack.part_pids("elasticsearch")):
        await history_is_from("postgresql", analyst, account.id, within_s=5)
        calls = (
            analyst.counterparties(account.id, timeout=3),
            analyst.volume(0, 60_000_000, timeout=3, interval=1),
            analyst.kinds(timeout=3),
            analyst.institutions(timeout=3),
            analyst.activity(account.id, 0, 60_000_000, timeout=3, interval=1),
            analyst.declines(timeout=3),
            analyst.latencies(timeout=3),
            analyst.history.SearchTransfers(NOVEL, timeout=3),
        )
        # Past its deadline a call would end without any reason of ours.
        errors = await asyncio.gather(*map(refused, calls))
    assert {error.reason for error in errors} == {Reason.INDEX_UNAVAILABLE}
    assert all(error.retry_after_ms for error in errors)
    await until_from("elasticsearch", analyst, account.id)


async def until_from(source: str, analyst: Caller, account: int) -> None:
    """Return once balances come from `source` again, which nobody tells the service."""
    async with asyncio.timeout(60):
        while (await analyst.balance(account)).freshness.source != source:
            await asyncio.sleep(0.1)


async def test_a_call_that_waits_for_a_hanging_index_ends_before_the_deadline(
    stack: LocalStack, account: AccountRow, connect: Connect
) -> None:
    analyst = Caller.on(connect("analyst"))
    with frozen(stack.part_pids("elasticsearch")):
        wanted = Position(2**31, 1, 1).encode()
        error = await refused(analyst.balance(account.id, timeout=3, min_position=wanted))
    assert error.reason in (Reason.INDEX_UNAVAILABLE, Reason.INDEX_BEHIND)


async def test_while_the_index_is_down_history_goes_on_and_returns_to_it_by_itself(
    stack: LocalStack, account: AccountRow, index: Index, connect: Connect
) -> None:
    analyst = Caller.on(connect("analyst"))
    await analyst.page(account.id)
    await asyncio.to_thread(stack.stop_part, "elasticsearch")
    try:
        started = time.monotonic()
        for _ in range(20):
            await history_is_from("postgresql", analyst, account.id, within_s=5)
        while time.monotonic() - started < AWAY_S:
            await history_is_from("postgresql", analyst, account.id, within_s=5)
            error = await refused(analyst.kinds(timeout=3))
            assert error.reason is Reason.INDEX_UNAVAILABLE
        calls = (
            analyst.counterparties(account.id),
            analyst.volume(0, 60_000_000, interval=1),
            analyst.kinds(),
            analyst.institutions(),
            analyst.activity(account.id, 0, 60_000_000, interval=1),
            analyst.declines(),
            analyst.latencies(),
            analyst.history.SearchTransfers(NOVEL, timeout=TIMEOUT_S),
        )
        errors = await asyncio.gather(*map(refused, calls))
        assert time.monotonic() - started < AWAY_S + TIMEOUT_S
        # The ledger may get there still, and is asked for as long as the call has time.
        wanted = Position(2**31, 1, 1).encode()
        errors.append(await refused(analyst.balance(account.id, timeout=3, min_position=wanted)))
    finally:
        await asyncio.to_thread(stack.start_part, "elasticsearch")
    assert {error.reason for error in errors} == {Reason.INDEX_UNAVAILABLE}
    assert all(error.retry_after_ms for error in errors)
    await index.client.cluster.health(wait_for_status="yellow", timeout="30s")
    await until_from("elasticsearch", analyst, account.id)


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

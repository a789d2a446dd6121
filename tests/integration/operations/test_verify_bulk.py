"""Verification of many transfers: in slices, in bounded memory, under load."""

import asyncio
import tracemalloc

import asyncpg
import pytest

from operations.verify import Report, steps, verify_ledger
from operations.verify.rules import RULES
from operations.verify.scope import Last
from tests.support.bulk_ledger import BulkLedger
from tests.support.databases import OwnDatabase

FEW, MANY = 4_000, 24_000


@pytest.fixture
async def admin(database: OwnDatabase) -> asyncpg.Connection:
    connection = await asyncpg.connect(database.admin_dsn)
    yield connection
    await connection.close()


def held(report: Report) -> bool:
    assert [check for check in report.checks if not check.held] == []
    return report.held


async def test_slices_add_up_to_the_whole(
    database: OwnDatabase, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await BulkLedger.open(admin, FEW)
    await ledger.fill(FEW - ledger.written)
    whole = await verify_ledger(database.dsn("audit"))
    assert held(whole)
    kinds = {row["kind"] for row in await admin.fetch("SELECT DISTINCT kind FROM ledger.transfers")}
    assert kinds == {
        "DEPOSIT", "TRANSFER", "FEE", "HOLD", "CAPTURE", "RELEASE", "REFUND", "REVERSAL",
    }  # fmt: skip
    monkeypatch.setattr(steps, "SLICE", 300)
    told: list[tuple[int, int]] = []
    sliced = await verify_ledger(
        database.dsn("audit"), progress=lambda done, total: told.append((done, total))
    )
    assert held(sliced)
    rules = [rule.text for rule in RULES.values() if rule.text != RULES["signatures"].text]
    assert [(rule, sliced.check(rule).examined) for rule in rules] == [
        (rule, whole.check(rule).examined) for rule in rules
    ]
    assert len(told) > 50
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]


async def test_slices_find_the_first_and_count_all(
    database: OwnDatabase, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await BulkLedger.open(admin, FEW)
    await ledger.fill(FEW - ledger.written)
    monkeypatch.setattr(steps, "SLICE", 300)
    await admin.execute("ALTER TABLE ledger.transfers DISABLE TRIGGER append_only")
    await admin.execute(
        "UPDATE ledger.transfers SET parent_remaining = parent_remaining + 1 WHERE kind = 'REFUND'"
    )
    await admin.execute("ALTER TABLE ledger.transfers ENABLE ALWAYS TRIGGER append_only")
    refunds = await admin.fetch("SELECT id FROM ledger.transfers WHERE kind = 'REFUND' ORDER BY id")
    check = (await verify_ledger(database.dsn("audit"))).check(RULES["children"].text)
    assert check.violations == len(refunds)
    assert check.first_violation is not None
    assert check.first_violation["transfer"] == refunds[0]["id"]


async def test_the_client_needs_no_more_memory_for_more_transfers(
    database: OwnDatabase, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "SLICE", 2_000)
    ledger = await BulkLedger.open(admin, MANY)
    peaks = []
    for size in (FEW, MANY):
        await ledger.fill(size - ledger.written)
        tracemalloc.start()
        try:
            assert held(await verify_ledger(database.dsn("audit")))
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    few, many = peaks
    assert many - few < 500_000


async def test_verification_under_load_sees_a_whole_ledger_and_stops_nobody(
    database: OwnDatabase, admin: asyncpg.Connection
) -> None:
    ledger = await BulkLedger.open(admin, 4 * MANY)
    await ledger.fill(FEW)
    assert held(await verify_ledger(database.dsn("audit")))
    stop = asyncio.Event()

    async def load() -> None:
        while not stop.is_set():
            await ledger.fill(500)

    posting = asyncio.create_task(load())
    try:
        before = ledger.written
        assert held(await verify_ledger(database.dsn("audit")))
        for _ in range(3):
            assert held(await verify_ledger(database.dsn("audit"), since=Last()))
        assert ledger.written > before
    finally:
        stop.set()
        await posting
    assert held(await verify_ledger(database.dsn("audit"), since=Last()))
    assert held(await verify_ledger(database.dsn("audit")))

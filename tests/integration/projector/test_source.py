"""The journal is read in the order of its transactions, and none is passed over."""

from __future__ import annotations

from paycore.domain.position import Position
from paycore.runtime.clock import SystemClock
from projector.journal_rows import RowDecoder
from projector.source import JournalSource
from tests.integration.projector.index import until
from tests.integration.projector.ledger import TestLedger

WRITE = "INSERT INTO ledger.journal (id, created_at_us) VALUES ($1, 1) RETURNING xid"


async def test_what_a_transaction_under_way_holds_back_comes_in_its_place(
    ledger: TestLedger,
) -> None:
    await _read_while_one_is_under_way(ledger, slow_id=8, fast_id=9)


async def test_ids_may_rise_against_the_order_of_transactions(ledger: TestLedger) -> None:
    await _read_while_one_is_under_way(ledger, slow_id=9, fast_id=8)


async def _read_while_one_is_under_way(ledger: TestLedger, slow_id: int, fast_id: int) -> None:
    """Of two transactions the second commits first; the journal is read before and after both."""
    async with (
        ledger.pool.acquire() as reading,
        ledger.pool.acquire() as slow,
        ledger.pool.acquire() as fast,
    ):
        epoch = await reading.fetchval("SELECT epoch FROM ledger.epoch")
        source = JournalSource(
            reading, RowDecoder(reading), SystemClock(), sink="test", epoch=epoch, page_entries=100
        )
        async with slow.transaction():
            first = Position(epoch, await slow.fetchval(WRITE, slow_id), slow_id)
            second = Position(epoch, await fast.fetchval(WRITE, fast_id), fast_id)
            assert first.xid < second.xid
            before = await source.read(Position(epoch, 0, 0))

        async def all_ended() -> bool:
            # Nothing of anybody else's in this cluster is under way either.
            horizon: int = await reading.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())")
            return horizon > second.xid

        await until(all_ended)
        after = await source.read(before.position)
    read = [row.position for row in (*before.items, *after.items)]
    assert read == [first, second]

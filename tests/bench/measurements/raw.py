"""The posting's own SQL: what PostgreSQL and asyncpg do with batches, and nothing before them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import asyncpg

import database
from command_service.posting import rows
from command_service.posting.postgres import PostgresLedger
from command_service.transactions import Transactions
from paycore.domain.accounts import Account, AccountId
from paycore.domain.grants import Grant, GrantAction, Grants, GrantScope
from paycore.domain.idempotency import HASH_BYTES
from paycore.domain.money import Currency, Minor
from paycore.domain.plan import BatchState, Plan
from paycore.domain.planning import plan_batch
from paycore.domain.rules import Rules
from paycore.domain.transfers import TransferCommand, TransferKind
from paycore.runtime.clock import SystemClock
from paycore.runtime.database import open_pool
from paycore.runtime.pools import PoolName
from paycore.runtime.snowflake import IdSource
from tests.bench.bed import CALLER, Bed
from tests.bench.errors import BenchError
from tests.bench.figures import Latency, Sample
from tests.bench.orders import CURRENCY, shares
from tests.bench.sizes import BATCH
from tests.support.applied_plans import apply_transfers

IN_FLIGHT = 2
RULES = Rules(
    Grants.of(
        Grant(CALLER, action, GrantScope.OWN)
        for action in (GrantAction.TRANSFER, GrantAction.READ, GrantAction.STEP_UP_EXEMPT)
    ),
    {},
)


@dataclass(frozen=True, slots=True)
class _Batch:
    """A batch decided beforehand."""

    commands: Sequence[TransferCommand]
    journal_id: int
    plan: Plan


class RawPosting:
    """Batches in flight on connections of their own, over disjoint accounts."""

    key = "raw"
    label = f"posting SQL by asyncpg, batches of {BATCH}, {IN_FLIGHT} in flight"
    unit = "transfers"
    baseline = ""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self._clock = SystemClock()

    async def warm_up(self) -> None:
        await self._run(10 * BATCH)

    async def measure(self) -> Sample:
        return await self._run(self._bed.sizes.raw)

    async def _run(self, transfers: int) -> Sample:
        bed = self._bed
        dsn = bed.endpoints.postgres_dsn["paycore_command"]
        pool = await open_pool(
            dsn, size=IN_FLIGHT, name=PoolName.READING, application="paycore-bench"
        )
        ids = IdSource(dsn, self._clock, "paycore-bench-ids")
        await ids.start()
        try:
            transactions = Transactions(pool, self._clock)
            await transactions.start()
            store = PostgresLedger(pool, transactions, self._clock)
            batches = -(-transfers // (BATCH * IN_FLIGHT))
            lanes = [
                await self._prepare(pool, ids, own, batches)
                for own in shares(bed.accounts, IN_FLIGHT)
            ]
            return await self._time(store, lanes)
        finally:
            await ids.stop()
            await pool.close()

    async def _time(self, store: PostgresLedger, lanes: Sequence[Sequence[_Batch]]) -> Sample:
        latencies_s: list[float] = []

        async def post(lane: Sequence[_Batch]) -> None:
            for batch in lane:
                began = time.perf_counter()
                await store.post(batch.commands, batch.journal_id, lambda _, plan=batch.plan: plan)  # type: ignore[misc]
                latencies_s.append(time.perf_counter() - began)

        meter = self._bed.meter()
        meter.start()
        began = time.perf_counter()
        await asyncio.gather(*(post(lane) for lane in lanes))
        elapsed_s = time.perf_counter() - began
        posted = sum(len(batch.commands) for lane in lanes for batch in lane)
        return Sample(posted / elapsed_s, Latency.of(latencies_s), meter.per(posted))

    async def _prepare(
        self, pool: asyncpg.Pool, ids: IdSource, own: Sequence[int], batches: int
    ) -> list[_Batch]:
        """Decide batches one after the other, each from the accounts as the one before left them.

        Nobody else may move money on `own` until they are posted.
        """
        queries = database.load("posting")
        async with pool.acquire() as connection:
            found = await queries.lock_accounts(connection, ids=list(own))
        accounts: dict[AccountId, Account] = {row[0]: rows.account(row) for row in found}
        prepared: list[_Batch] = []
        for _ in range(batches):
            commands = [_command(*pair) for pair in self._bed.orders.pairs(own, BATCH)]
            journal_id, *new_ids = await ids.take(BATCH + 1)
            touched = {
                side: accounts[side]
                for command in commands
                for side in (command.debit_account, command.credit_account)
            }
            plan = plan_batch(
                BatchState(touched, {}), commands, RULES, self._clock.now_us(), new_ids
            )
            if len(plan.transfers) != BATCH:
                raise BenchError("a transfer of the raw batches was not planned as posted")
            apply_transfers(accounts, plan.transfers)
            prepared.append(_Batch(commands, journal_id, plan))
        return prepared


def _command(key: str, debit: int, credit: int, amount: int) -> TransferCommand:
    return TransferCommand(
        CALLER,
        key,
        # As wide and as random as the service's keyed hash of the request.
        blake2b(key.encode(), digest_size=HASH_BYTES).digest(),
        TransferKind.TRANSFER,
        AccountId(debit),
        AccountId(credit),
        Minor(amount),
        Currency(CURRENCY),
    )

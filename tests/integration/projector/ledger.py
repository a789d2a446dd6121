"""Writes rows as the command service leaves them, with control over when transactions end."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from paycore.runtime.clock import SystemClock

_ids = itertools.count(7_000_000_000_000)
_clock = SystemClock()

CURRENCY = "USD"

AMPLE = 2**62
"""A limit that no payment here comes near."""


@dataclass(frozen=True)
class Payment:
    """One transfer to post; details are personal."""

    debit: int
    credit: int
    amount: int
    reference: str | None = None
    details: dict[str, Any] | None = None


class TestLedger:
    """A ledger database of one test, reached as its owner."""

    __test__ = False

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool

    async def open_accounts(self, count: int) -> list[int]:
        accounts = [next(_ids) for _ in range(count)]
        now_us = _clock.now_us()
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.executemany(
                "INSERT INTO ledger.accounts (id, created_at_us, kind, currency, owner,"
                " institution, opened_by, overdraft_limit)"
                " VALUES ($1, $2, 'CUSTOMER', $3, $4, $5, 'app', $6)",
                [
                    (key, now_us, CURRENCY, f"owner-{key}", f"bank-{key % 3}", AMPLE)
                    for key in accounts
                ],
            )
            await self._journal(connection, now_us, accounts=accounts)
        return accounts

    async def open_pair(self) -> tuple[int, int]:
        debit, credit = await self.open_accounts(2)
        return debit, credit

    async def post(
        self,
        payments: Sequence[Payment],
        *,
        hold_s: float = 0.0,
        hold_until: asyncio.Event | None = None,
        created_at_us: int | None = None,
    ) -> list[int]:
        """Post in one transaction that stays open after its rows were written: for `hold_s`, and
        until `hold_until` is set.

        `created_at_us` is when it is said to have been, where not now.
        """
        async with self.pool.acquire() as connection, connection.transaction():
            keys = [await self._entry(connection, payment, created_at_us) for payment in payments]
            await self._journal(connection, transfers=keys)
            await asyncio.sleep(hold_s)
            if hold_until is not None:
                await hold_until.wait()
        return keys

    async def decline(self, payment: Payment) -> int:
        key = next(_ids)
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "INSERT INTO ledger.declines (id, debit_account, credit_account, amount,"
                " created_at_us, kind, currency, client, reason, figures)"
                " VALUES ($1, $2, $3, $4, $5, 'TRANSFER', $6, 'app', 'INSUFFICIENT_FUNDS', $7)",
                key, payment.debit, payment.credit, payment.amount, _clock.now_us(), CURRENCY,
                json.dumps({"available": "0", "requested": str(payment.amount)}),
            )  # fmt: skip
            await self._journal(connection, declines=[key])
        return key

    async def set_status(self, account: int, status: str) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "UPDATE ledger.accounts SET status = $2::text::ledger.account_status,"
                " revision = revision + 1 WHERE id = $1",
                account,
                status,
            )
            await self._journal(connection, accounts=[account])

    async def rows(self, query: str, *arguments: object) -> list[dict[str, Any]]:
        async with self.pool.acquire() as connection:
            return [dict(row) for row in await connection.fetch(query, *arguments)]

    async def execute(self, statement: str, *arguments: object) -> None:
        async with self.pool.acquire() as connection:
            await connection.execute(statement, *arguments)

    async def checkpoint_xid(self) -> int:
        rows = await self.rows("SELECT xid FROM projection.checkpoints")
        return rows[0]["xid"] if rows else 0

    async def last_xid(self) -> int:
        rows = await self.rows("SELECT max(xid) AS xid FROM ledger.journal")
        return rows[0]["xid"] or 0

    async def _entry(
        self, connection: asyncpg.Connection, payment: Payment, at_us: int | None = None
    ) -> int:
        key = next(_ids)
        rows = await connection.fetch(
            "SELECT id, balance, version, last_entry_us FROM ledger.accounts"
            " WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE",
            [payment.debit, payment.credit],
        )
        before = {row["id"]: row for row in rows}
        debit, credit = before[payment.debit], before[payment.credit]
        now_us = _clock.now_us() if at_us is None else at_us
        created_at_us = 1 + max(now_us, debit["last_entry_us"], credit["last_entry_us"])
        await connection.execute(
            "INSERT INTO ledger.transfers (id, debit_account, credit_account, amount,"
            " debit_version, credit_version, debit_balance_after, credit_balance_after,"
            " debit_held_after, created_at_us, kind, step_up, currency, client, reference)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, 'TRANSFER', 'BELOW_THRESHOLD', $10,"
            " 'app', $11)",
            key, payment.debit, payment.credit, payment.amount,
            debit["version"] + 1, credit["version"] + 1,
            debit["balance"] - payment.amount, credit["balance"] + payment.amount,
            created_at_us, CURRENCY, payment.reference,
        )  # fmt: skip
        if payment.details is not None:
            metadata = payment.details.get("metadata")
            await connection.execute(
                "INSERT INTO ledger.transfer_details (id, user_id, description, metadata)"
                " VALUES ($1, $2, $3, $4)",
                key,
                payment.details.get("user_id"),
                payment.details.get("description"),
                None if metadata is None else json.dumps(metadata),
            )
        return key

    async def _journal(
        self, connection: asyncpg.Connection, at_us: int | None = None, **named: Sequence[int]
    ) -> None:
        await connection.execute(
            "INSERT INTO ledger.journal (id, created_at_us, transfers, declines, accounts)"
            " VALUES ($1, $2, $3, $4, $5)",
            next(_ids), at_us or _clock.now_us(),
            named.get("transfers", ()), named.get("declines", ()), named.get("accounts", ()),
        )  # fmt: skip


def random_payments(rng: random.Random, accounts: Sequence[int], count: int) -> list[Payment]:
    payments = []
    for _ in range(count):
        debit, credit = rng.sample(accounts, 2)
        payments.append(Payment(debit, credit, rng.randint(1, 10_000)))
    return payments

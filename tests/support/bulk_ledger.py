"""A ledger of any size with every kind of transfer, written in SQL through the tables' triggers.

Versions and balances are reckoned here by window functions, not by the engine, so that a
verification of it is a check of the one against the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

BATCH = 2_000
"""Transfers in one posting transaction."""

ACCOUNTS = 1_000
FUNDS = 100_000_000
START_US = 1_790_000_000_000_000
APART_US = 1_000
"""As of a thousand payments a second."""

MONTHS = 4
"""Over about half as many months, and their partitions, the ids are spread."""

GROUP = 20
"""The first transfers of each batch are a group of this many."""

_OPEN = """
WITH opened AS (
  INSERT INTO ledger.accounts
    (id, kind, currency, owner, institution, opened_by, created_at_us)
  SELECT $1::bigint + n,
         (CASE WHEN n = 0 THEN 'EXTERNAL' ELSE 'CUSTOMER' END)::ledger.account_kind, 'EUR',
         'someone', 'bank', 'bulk', $3::bigint
  FROM generate_series(0, $2::int) AS n
), remembered AS (
  INSERT INTO ledger.idempotency_keys
    (client, key, outcome, outcome_id, journal_id, request_hash)
  SELECT 'bulk', 'open-' || n, 'ACCOUNT', $1::bigint + n, $4::bigint, ''::bytea
  FROM generate_series(0, $2::int) AS n
)
INSERT INTO ledger.journal (id, created_at_us, accounts)
SELECT $4::bigint, $3::bigint, array_agg($1::bigint + n) FROM generate_series(0, $2::int) AS n
"""

_DRAFTS = {
    "deposits": """
SELECT n, 'DEPOSIT' AS kind, $5::bigint AS debit, $5 + n AS credit, $6::bigint AS amount,
       NULL::bigint AS parent, NULL::bigint AS sequence, NULL::bigint AS remaining,
       NULL::text AS state, NULL::bigint AS released, NULL::bigint AS grouped
FROM generate_series(1, $4::int) AS n""",
    "singles": """
SELECT n, CASE WHEN n % 20 = 0 THEN 'HOLD' WHEN n % 20 = 1 THEN 'FEE' ELSE 'TRANSFER' END,
       $5::bigint + 1 + payer,
       $5 + 1 + (payer + 1 + floor(random() * ($6::bigint - 1))::bigint) % $6::bigint,
       1 + floor(random() * 100)::bigint, NULL::bigint, NULL::bigint, NULL::bigint,
       NULL::text, NULL::bigint, CASE WHEN n % 20 <> 0 AND n <= %(group)s THEN 1 END
FROM (
  SELECT n, floor(random() * $6::bigint)::bigint AS payer FROM generate_series(1, $4::int) AS n
) AS drawn
""",
    "captures": """
SELECT row_number() OVER (ORDER BY id),
       CASE WHEN place % 3 = 2 THEN 'RELEASE' ELSE 'CAPTURE' END, debit_account, credit_account,
       CASE WHEN place % 3 = 2 THEN left_over ELSE (left_over + 1) / 2 END,
       id, sequence + 1,
       CASE WHEN place % 3 = 0 THEN left_over / 2 ELSE 0 END,
       CASE WHEN place % 3 = 2 THEN 'RELEASED'
            WHEN place % 3 = 0 AND left_over > 1 THEN 'PARTIALLY_CAPTURED' ELSE 'CAPTURED' END,
       CASE WHEN place % 3 = 1 AND left_over > 1 THEN left_over / 2 END, NULL::bigint
FROM (
  SELECT hold.id, hold.debit_account, hold.credit_account, open.sequence,
         open.remaining AS left_over, row_number() OVER (ORDER BY open.id) AS place
  FROM ledger.open_holds AS open
  JOIN ledger.transfers AS hold ON hold.id = open.id
  ORDER BY open.id
  LIMIT $4::int + 0 * $5::bigint + 0 * $6::bigint
) AS held""",
    "refunds": """
SELECT row_number() OVER (ORDER BY id), CASE WHEN place % 4 = 0 THEN 'REVERSAL' ELSE 'REFUND' END,
       credit_account, debit_account,
       CASE WHEN place % 4 = 0 THEN amount ELSE (amount + 1) / 2 END, id, 1,
       CASE WHEN place % 4 = 0 THEN 0 ELSE amount / 2 END,
       CASE WHEN place % 4 = 0 THEN 'REVERSED'
            WHEN amount > 1 THEN 'PARTIALLY_REFUNDED' ELSE 'REFUNDED' END,
       NULL::bigint, NULL::bigint
FROM (
  SELECT id, debit_account, credit_account, amount, row_number() OVER (ORDER BY id) AS place
  FROM ledger.transfers
  WHERE id >= $6::bigint AND kind = 'TRANSFER'
  ORDER BY id
  LIMIT $4::int + 0 * $5::bigint
) AS recent""",
}

_POST = """
WITH draft (
  n, kind, debit, credit, amount, parent, sequence, remaining, state, released, grouped
) AS MATERIALIZED ({draft}),
legs AS (
  SELECT n, 0 AS side, debit AS account,
         CASE WHEN kind IN ('HOLD', 'RELEASE') THEN 0 ELSE -amount END AS change,
         CASE kind WHEN 'HOLD' THEN amount WHEN 'RELEASE' THEN -amount
                   WHEN 'CAPTURE' THEN -amount - coalesce(released, 0) ELSE 0 END AS held
  FROM draft
  UNION ALL
  SELECT n, 1, credit, amount, 0 FROM draft WHERE kind NOT IN ('HOLD', 'RELEASE')
), running AS (
  SELECT n, side, stored.version + row_number() OVER chain AS version,
         (stored.balance + sum(change) OVER chain)::bigint AS balance,
         (stored.held + sum(legs.held) OVER chain)::bigint AS held
  FROM legs
  JOIN ledger.accounts AS stored ON stored.id = legs.account
  WINDOW chain AS (PARTITION BY account ORDER BY n, side)
), posted AS (
  INSERT INTO ledger.transfers (
    id, debit_account, credit_account, amount, debit_version, credit_version, debit_balance_after,
    credit_balance_after, debit_held_after, created_at_us, kind, step_up, currency, client,
    parent_id, parent_sequence, parent_remaining, parent_state, released, group_id)
  SELECT $1::bigint + draft.n * {stride}, debit, credit, amount, payer.version, payee.version,
         payer.balance, payee.balance, payer.held, $2::bigint + draft.n,
         kind::ledger.transfer_kind,
         (CASE WHEN kind IN ('TRANSFER', 'WITHDRAWAL', 'HOLD', 'FEE')
          THEN 'BELOW_THRESHOLD' ELSE 'NOT_APPLICABLE' END)::ledger.step_up_basis,
         'EUR', 'bulk', parent,
         sequence, remaining, state::ledger.transfer_state, released,
         $1::bigint + grouped - 1
  FROM draft
  JOIN running AS payer ON payer.n = draft.n
  LEFT JOIN running AS payee ON payee.n = draft.n AND payee.side = 1
  WHERE payer.side = 0
), teamed AS (
  INSERT INTO ledger.transfer_groups (id, created_at_us, client, transfers)
  SELECT $1::bigint, $2::bigint, 'bulk', array_agg($1::bigint + n * {stride} ORDER BY n) FROM draft
  WHERE grouped IS NOT NULL HAVING count(*) > 0
), remembered AS (
  INSERT INTO ledger.idempotency_keys
    (client, key, outcome, outcome_id, journal_id, request_hash)
  SELECT 'bulk', gen_random_uuid()::text, 'TRANSFER'::ledger.outcome_kind,
         $1::bigint + n * {stride}, $3::bigint, ''::bytea FROM draft
  WHERE grouped IS NULL
  UNION ALL
  SELECT 'bulk', gen_random_uuid()::text, 'GROUP', $1::bigint, $3::bigint, '' FROM draft
  WHERE grouped IS NOT NULL HAVING count(*) > 0
)
INSERT INTO ledger.journal (id, created_at_us, transfers)
SELECT $3::bigint, $2::bigint, coalesce(array_agg($1::bigint + n * {stride}), '{{}}') FROM draft
RETURNING cardinality(transfers)
"""


@dataclass
class BulkLedger:
    """Writes as whoever `connection` is, which must be the owner or a superuser."""

    connection: asyncpg.Connection
    first_id: int
    stride: int
    written: int = 0
    _next: int = 0

    @classmethod
    async def open(cls, connection: asyncpg.Connection, most: int) -> BulkLedger:
        """Open and fund the accounts of a ledger that will have up to about `most` transfers."""
        first, past = await connection.fetchrow(
            "SELECT ledger.first_transfer_id(now()),"
            " ledger.first_transfer_id(now() + make_interval(months => $1))",
            MONTHS,
        )
        ledger = cls(connection, first, (past - first) // (2 * most + 100 * BATCH))
        async with connection.transaction():
            await connection.execute(
                _OPEN, ledger._take(ACCOUNTS + 1), ACCOUNTS, START_US, ledger._take(1)
            )
        await ledger._post("deposits", ACCOUNTS, ledger.first_id, FUNDS)
        return ledger

    async def fill(
        self, transfers: int, tell: Callable[[int], None] = lambda written: None
    ) -> None:
        """Post at least so many more: a group, transfers, fees, holds, what follows them."""
        end = self.written + transfers
        while self.written < end:
            size = max(2 * GROUP, min(BATCH, (end - self.written) * 5 // 6))
            singles = await self._post("singles", size, self.first_id, ACCOUNTS)
            await self._post("captures", size // 20, 0, 0)
            await self._post("refunds", size // 10, 0, singles)
            tell(self.written)

    async def _post(self, draft: str, size: int, *values: int) -> int:
        """Post one batch; returns the id before its first transfer's."""
        sql = _POST.format(
            draft=_DRAFTS[draft].replace("%(group)s", str(GROUP)), stride=self.stride
        )
        # The ids are apart by the stride and begin after the group's.
        now_us = START_US + self._next * APART_US
        journal_id = self._take(1)
        base = self._take(size + 1)
        written = await self.connection.fetchval(sql, base, now_us, journal_id, size, *values)
        self.written += written
        return base

    def _take(self, count: int) -> int:
        taken = self.first_id + self._next * self.stride
        self._next += count
        return taken

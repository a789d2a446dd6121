"""What a reader must answer, by plain SQL of its own over all rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import asyncpg

from query_service.readers.port import TransferFilter

_LISTED = """
SELECT id, created_at_us FROM (
  SELECT id, created_at_us, debit_account, credit_account, kind::text, amount, reference,
         false AS declined
  FROM ledger.transfers
  UNION ALL
  SELECT id, created_at_us, debit_account, credit_account, kind::text, amount, reference, true
  FROM ledger.declines
) AS everything
WHERE (debit_account = $1 OR credit_account = $1 AND NOT declined)
  AND (NOT declined OR $2)
  AND ($3::bigint IS NULL OR created_at_us >= $3)
  AND ($4::bigint IS NULL OR created_at_us < $4)
  AND (cardinality($5::text[]) = 0 OR kind = ANY ($5))
  AND ($6::bigint IS NULL OR $6 IN (debit_account, credit_account))
  AND ($7::bigint IS NULL OR amount >= $7)
  AND ($8::bigint IS NULL OR amount <= $8)
  AND ($9::text IS NULL OR reference = $9)
ORDER BY created_at_us DESC, id DESC
"""

_ENTRIES = """
SELECT version, transfer, change, balance_after, created_at_us,
       (SELECT sum(held_change) FROM ledger.entries AS before
        WHERE before.account = entries.account
          AND before.version <= entries.version)::bigint AS held,
       (SELECT kind::text FROM ledger.transfers WHERE id = transfer) AS kind
FROM ledger.entries WHERE account = $1 ORDER BY version
"""


@dataclass(frozen=True)
class Entry:
    version: int
    transfer: int
    change: int
    balance_after: int
    created_at_us: int
    held: int
    kind: str


async def listed(admin: asyncpg.Connection, wanted: TransferFilter) -> list[int]:
    rows = await admin.fetch(
        _LISTED,
        wanted.account,
        wanted.include_declines,
        wanted.start_us,
        wanted.end_us,
        sorted(wanted.kinds),
        wanted.counterparty,
        wanted.min_amount,
        wanted.max_amount,
        wanted.reference,
    )
    return [row["id"] for row in rows]


async def entries(admin: asyncpg.Connection, account: int) -> list[Entry]:
    rows: list[Any] = await admin.fetch(_ENTRIES, account)
    return [Entry(**row) for row in rows]

"""Whether the index holds what the ledger holds: nothing missing, nothing doubled, nothing else."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import asyncpg
from elasticsearch import ApiError, AsyncElasticsearch, TransportError

from deploy.local import Endpoints

PAGE = 5_000
FIELDS = (
    "id", "state", "remaining", "kind", "amount", "currency", "debit_account", "credit_account",
    "client", "reference", "created_at_us", "effective_at_us", "parent_id", "group_id",
    "debit_version", "credit_version", "debit_balance_after", "credit_balance_after",
    "debit_held_after", "parent_sequence", "parent_remaining", "parent_state", "released",
    "expires_at_us", "review",
)  # fmt: skip
ALL_TRANSFERS = """
    SELECT transfers.id, coalesce(latest.parent_state::text,
                                  CASE kind WHEN 'HOLD' THEN 'HELD' ELSE 'POSTED' END) AS state,
           coalesce(latest.parent_remaining, CASE kind WHEN 'HOLD' THEN amount END) AS remaining,
           kind::text, amount, currency, debit_account, credit_account, client, reference,
           created_at_us, effective_at_us, transfers.parent_id, group_id, debit_version,
           credit_version, debit_balance_after, credit_balance_after, debit_held_after,
           transfers.parent_sequence, transfers.parent_remaining, transfers.parent_state::text,
           released, expires_at_us, review
    FROM ledger.transfers
    LEFT JOIN (
      SELECT DISTINCT ON (parent_id) parent_id, parent_state, parent_remaining
      FROM ledger.transfers
      WHERE parent_id IS NOT NULL
      ORDER BY parent_id, parent_sequence DESC
    ) AS latest ON latest.parent_id = transfers.id
    UNION ALL
    SELECT id, 'FAILED', NULL, kind::text, amount, currency, debit_account, credit_account, client,
           reference, created_at_us, effective_at_us, parent_id, group_id, NULL, NULL, NULL, NULL,
           NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM ledger.declines
    ORDER BY id
"""
"""All that was posted or declined, in the FIELDS of their documents, as it stands."""


async def assert_index_catches_up(endpoints: Endpoints, within_s: float = 120.0) -> None:
    """Wait until the index equals the ledger, document by document."""
    give_up_s = time.monotonic() + within_s
    connection = await asyncpg.connect(endpoints.postgres_dsn["paycore_audit"])
    client = AsyncElasticsearch(
        endpoints.elasticsearch_url,
        basic_auth=(endpoints.elasticsearch_user, endpoints.elasticsearch_password),
        request_timeout=30,
    )
    try:
        ledger = await _ledger(connection)
        transfers = f"{endpoints.index_prefix}-transfers"
        # A look at all of it takes long where there is much: none before it can be right.
        while await _counted(client, transfers) != len(ledger) and time.monotonic() < give_up_s:
            await asyncio.sleep(0.3)
        while True:
            try:
                indexed = await _indexed(client, transfers)
            except (ApiError, TransportError):
                indexed = []
            if indexed == ledger:
                break
            if time.monotonic() > give_up_s:
                there, due = set(indexed), set(ledger)
                missing = [row for row in ledger if row not in there]
                extra = [row for row in indexed if row not in due]
                raise AssertionError(
                    f"the index has {len(indexed)} of {len(ledger)}: "
                    f"missing {missing[:3]}, extra {extra[:3]}"
                )
            await asyncio.sleep(0.3)
        accounts = await connection.fetchval("SELECT count(*) FROM ledger.accounts")
        while True:
            found = await client.count(index=f"{endpoints.index_prefix}-accounts")
            if found["count"] == accounts:
                return
            assert time.monotonic() < give_up_s, f"{found['count']} of {accounts} accounts"
            await asyncio.sleep(0.3)
    finally:
        await client.close()
        await connection.close()


async def _ledger(connection: asyncpg.Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch(ALL_TRANSFERS)]


async def _counted(client: AsyncElasticsearch, index: str) -> int | None:
    try:
        found = await client.count(index=index)
    except (ApiError, TransportError):
        return None
    count: int = found["count"]
    return count


async def _indexed(client: AsyncElasticsearch, index: str) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    after: list[Any] | None = None
    while True:
        page = await client.search(
            index=index,
            size=PAGE,
            sort=[{"id": "asc"}],
            source={"includes": list(FIELDS)},
            search_after=after,
            track_total_hits=False,
        )
        hits = page["hits"]["hits"]
        found += [tuple(hit["_source"].get(name) for name in FIELDS) for hit in hits]
        assert all(hit["_id"] == str(hit["_source"]["id"]) for hit in hits)
        if len(hits) < PAGE:
            return found
        after = hits[-1]["sort"]

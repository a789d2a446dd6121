"""Whether the index holds what the ledger holds: nothing missing, nothing doubled, nothing else."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import asyncpg
from elasticsearch import ApiError, AsyncElasticsearch, TransportError

from deploy.local import Endpoints

PAGE = 5_000
FIELDS = ("id", "state", "amount", "currency", "debit_account", "credit_account")


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
        while True:
            try:
                indexed = await _indexed(client, f"{endpoints.index_prefix}-transfers")
            except (ApiError, TransportError):
                indexed = []
            if sorted(indexed) == ledger:
                break
            if time.monotonic() > give_up_s:
                missing = set(ledger) - set(indexed)
                extra = set(indexed) - set(ledger)
                raise AssertionError(
                    f"the index has {len(indexed)} of {len(ledger)}: "
                    f"missing {sorted(missing)[:3]}, extra {sorted(extra)[:3]}"
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
    rows = await connection.fetch(
        "SELECT id, 'POSTED', amount, currency, debit_account, credit_account"
        " FROM ledger.transfers UNION ALL"
        " SELECT id, 'FAILED', amount, currency, debit_account, credit_account FROM ledger.declines"
    )
    return sorted(tuple(row) for row in rows)


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
        found += [tuple(hit["_source"][name] for name in FIELDS) for hit in hits]
        assert all(hit["_id"] == str(hit["_source"]["id"]) for hit in hits)
        if len(hits) < PAGE:
            return found
        after = hits[-1]["sort"]

"""The whole index held against the whole ledger, field by field, in bounded memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
from elasticsearch import AsyncElasticsearch

from tests.support.index_checks import ALL_TRANSFERS, FIELDS

PAGE = 5_000
ACCOUNTS = (
    "id", "currency", "owner", "institution", "opened_by", "balance", "held", "overdraft_limit",
    "version", "revision", "created_at_us",
)  # fmt: skip


async def compare(connection: asyncpg.Connection, client: AsyncElasticsearch, prefix: str) -> int:
    """How many documents are there, each once and each as the ledger has it; fails otherwise."""
    accounts = f"SELECT {', '.join(ACCOUNTS)} FROM ledger.accounts ORDER BY id"
    return await _compare(
        connection, ALL_TRANSFERS, client, f"{prefix}-transfers", FIELDS
    ) + await _compare(connection, accounts, client, f"{prefix}-accounts", ACCOUNTS)


async def _compare(
    connection: asyncpg.Connection,
    query: str,
    client: AsyncElasticsearch,
    index: str,
    fields: tuple[str, ...],
) -> int:
    documents, compared = _documents(client, index), 0
    async with connection.transaction():
        async for row in connection.cursor(query, prefetch=PAGE):
            found = await anext(documents, None)
            assert found is not None, f"{row['id']} is missing, and all after it"
            assert found["id"] == row["id"], f"{row['id']} is due, {found['id']} is there"
            assert {name: found.get(name) for name in fields} == dict(row)
            compared += 1
    left = await anext(documents, None)
    assert left is None, f"{left} is in the index alone"
    return compared


async def _documents(client: AsyncElasticsearch, index: str) -> AsyncIterator[dict[str, Any]]:
    after: list[Any] | None = None
    while True:
        reply = await client.search(
            index=index, size=PAGE, sort=[{"id": "asc"}], search_after=after,
            allow_partial_search_results=False, track_total_hits=False,
        )  # fmt: skip
        for hit in reply["hits"]["hits"]:
            assert hit["_id"] == str(hit["_source"]["id"])
            yield hit["_source"]
        if len(reply["hits"]["hits"]) < PAGE:
            return
        after = reply["hits"]["hits"][-1]["sort"]

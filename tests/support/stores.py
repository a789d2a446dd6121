"""All that the stores of a stack hold, to be searched for what must not be there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import redis.asyncio as redis
from elasticsearch import AsyncElasticsearch

from deploy.local import Endpoints
from deploy.local.endpoints import DATABASE, with_place


async def everything_in_tables(endpoints: Endpoints) -> bytes:
    """Every row of every table of the services' database."""
    admin = with_place(endpoints.postgres_admin_dsn, database=DATABASE)
    connection = await asyncpg.connect(admin)
    try:
        tables = await connection.fetch(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        lines = []
        for table in tables:
            rows = await connection.fetch(f"SELECT t::text AS line FROM {table['name']} AS t")
            lines += [row["line"] for row in rows]
        return "\n".join(lines).encode()
    finally:
        await connection.close()


async def everything_in_redis(endpoints: Endpoints) -> bytes:
    """Every key with its value, as Redis dumps it."""
    client = redis.Redis.from_url(endpoints.redis_url)
    try:
        found = [
            key + b" " + (await client.dump(key) or b"") async for key in client.scan_iter("*")
        ]
        return b"\n".join(found)
    finally:
        await client.aclose()


async def everything_in_index(endpoints: Endpoints) -> bytes:
    """Every document of every index."""
    client = AsyncElasticsearch(
        endpoints.elasticsearch_url,
        basic_auth=(endpoints.elasticsearch_user, endpoints.elasticsearch_password),
        request_timeout=60,
    )
    try:
        found: list[Any] = []
        after: list[Any] | None = None
        while True:
            page = await client.search(
                index=f"{endpoints.index_prefix}-*",
                size=5_000,
                sort=[{"_doc": "asc"}],
                search_after=after,
                track_total_hits=False,
            )
            hits = page["hits"]["hits"]
            found += hits
            if len(hits) < 5_000:
                return json.dumps([dict(hit) for hit in found]).encode()
            after = hits[-1]["sort"]
    finally:
        await client.close()


def files_of(state: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of the stack: logs, keys, and the stores' own files on disk."""
    for path in state.rglob("*"):
        if path.is_file():
            try:
                yield str(path), path.read_bytes()
            except FileNotFoundError:
                # The stores remove files of theirs as they go.
                continue

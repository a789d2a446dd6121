"""All that the stores of a stack hold, to be searched for what must not be there."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import redis.asyncio as redis
from elasticsearch import AsyncElasticsearch

from deploy.local import Endpoints
from deploy.local.endpoints import DATABASE, with_place

HTTP_TIMEOUT_S = 10.0


async def settle(endpoints: Endpoints) -> None:
    """Have the stores write what they hold in memory into their files."""
    connection = await asyncpg.connect(_admin(endpoints))
    try:
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()
    async with redis.Redis.from_url(endpoints.redis_url) as client:
        await client.save()
    async with _elastic(endpoints) as elastic:
        await elastic.indices.refresh(index=f"{endpoints.index_prefix}-*")
        await elastic.indices.flush(index=f"{endpoints.index_prefix}-*")


async def everything_by_table(endpoints: Endpoints) -> dict[str, bytes]:
    """Every row of every table of the services' database, by table."""
    connection = await asyncpg.connect(_admin(endpoints))
    try:
        names = await connection.fetch(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        found = {}
        for (name,) in names:
            rows = await connection.fetch(f"SELECT t::text AS line FROM {name} AS t")
            found[name] = "\n".join(row["line"] for row in rows).encode()
        return found
    finally:
        await connection.close()


async def everything_in_tables(endpoints: Endpoints) -> bytes:
    """Every row of every table of the services' database."""
    return b"\n".join((await everything_by_table(endpoints)).values())


async def everything_in_sessions(endpoints: Endpoints) -> bytes:
    """What PostgreSQL shows of statements that run or ran last."""
    connection = await asyncpg.connect(_admin(endpoints))
    try:
        rows = await connection.fetch("SELECT a::text AS line FROM pg_stat_activity AS a")
    finally:
        await connection.close()
    return "\n".join(row["line"] for row in rows).encode()


async def everything_in_redis(endpoints: Endpoints) -> bytes:
    """Every key with its value, as Redis dumps it."""
    async with redis.Redis.from_url(endpoints.redis_url) as client:
        found = [
            key + b" " + (await client.dump(key) or b"") async for key in client.scan_iter("*")
        ]
    return b"\n".join(found)


async def everything_in_index(endpoints: Endpoints) -> bytes:
    """Every document of every index."""
    async with _elastic(endpoints) as client:
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


async def everything_in_metrics(endpoints: Endpoints) -> bytes:
    """What every process tells of itself."""

    def read(url: str) -> bytes:
        with urllib.request.urlopen(url, timeout=HTTP_TIMEOUT_S) as reply:
            page: bytes = reply.read()
            return page

    urls = [url for urls in endpoints.metrics_urls.values() for url in urls]
    return b"\n".join(await asyncio.gather(*(asyncio.to_thread(read, url) for url in urls)))


def files_of(state: Path, since_s: float = 0.0) -> Iterator[tuple[str, bytes]]:
    """Every file of the stack that was written since then: logs, keys, crash dumps, and the stores'
    own files on disk, with PostgreSQL's write-ahead log."""
    for path in state.rglob("*"):
        try:
            if path.is_file() and not path.is_symlink() and path.stat().st_mtime >= since_s:
                yield str(path), path.read_bytes()
        except FileNotFoundError:
            # The stores remove files of theirs as they go.
            continue


def found_in(
    places: Iterable[tuple[str, bytes]], canaries: Mapping[str, set[bytes]]
) -> set[tuple[str, str]]:
    """Place and name of each of `canaries`, any form of which stands there."""
    return {
        (place, name)
        for place, content in places
        for name, forms in canaries.items()
        if any(form in content for form in forms)
    }


def _admin(endpoints: Endpoints) -> str:
    return with_place(endpoints.postgres_admin_dsn, database=DATABASE)


def _elastic(endpoints: Endpoints) -> AsyncElasticsearch:
    return AsyncElasticsearch(
        endpoints.elasticsearch_url,
        basic_auth=(endpoints.elasticsearch_user, endpoints.elasticsearch_password),
        request_timeout=60,
    )

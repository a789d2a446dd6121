"""On what the figures were taken."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path

import asyncpg
import redis.asyncio
from elasticsearch import AsyncElasticsearch

from deploy.local import Endpoints

ROOT = Path(__file__).resolve().parents[2]


async def describe(endpoints: Endpoints, parts: Collection[str]) -> dict[str, str]:
    """The machine and the versions of what runs on it, in the order to show them."""
    return {
        **hardware(),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "grpcio": version("grpcio"),
        "asyncpg": version("asyncpg"),
        "PostgreSQL": await _postgres(endpoints),
        "Redis": await _redis(endpoints) if "redis" in parts else "not running",
        "Elasticsearch": (
            await _elasticsearch(endpoints) if "elasticsearch" in parts else "not running"
        ),
        "commit": commit(),
    }


def hardware() -> dict[str, str]:
    """Cores and memory."""
    cores = len(os.sched_getaffinity(0))
    return {
        "cores": f"{cores} ({_field('/proc/cpuinfo', 'model name')})",
        "memory": f"{int(_field('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.1f} GiB",
    }


async def _postgres(endpoints: Endpoints) -> str:
    connection = await asyncpg.connect(endpoints.postgres_dsn["paycore_audit"])
    try:
        number = connection.get_server_version()
        commit = await connection.fetchval("SELECT current_setting('synchronous_commit')")
    finally:
        await connection.close()
    return f"{number.major}.{number.minor} (synchronous_commit {commit})"


async def _redis(endpoints: Endpoints) -> str:
    async with redis.asyncio.from_url(endpoints.redis_url) as client:
        return str((await client.info("server"))["redis_version"])


async def _elasticsearch(endpoints: Endpoints) -> str:
    async with AsyncElasticsearch(
        endpoints.elasticsearch_url,
        basic_auth=(endpoints.elasticsearch_user, endpoints.elasticsearch_password),
    ) as client:
        nodes = await client.nodes.info(node_id="_local", filter_path="nodes.*.version")
        return str(next(iter(nodes["nodes"].values()))["version"])


def _field(path: str, name: str) -> str:
    """What the file of `name: value` lines at `path` says of `name`; unknown where nothing."""
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"


def commit() -> str:
    """The checkout's commit, marked where files differ from it; unknown outside a checkout."""
    try:
        name = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{name} with changes" if changed else name


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

"""`python -m tests.bench.chain`: fill a ledger, seal it, follow the chain; hash in both places.

Processor time here and in the sessions of PostgreSQL together is what one core has to do.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import psutil
import typer
import uvloop
from rich.console import Console

import database
from deploy.local import LocalStack
from operations.verify.chain import verify_chain
from tests.support.bulk_ledger import BulkLedger
from tests.support.databases import OwnDatabase, own_database, prepare_template
from tests.support.sealing import seal_journal

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
console = Console(highlight=False)

AT_ONCE = 4_000

_queries: Any = database.load("chain")

_NUMBERS = [
    *("id", "debit_account", "credit_account", "amount", "debit_version", "credit_version"),
    *("debit_balance_after", "credit_balance_after", "debit_held_after", "created_at_us"),
    *("effective_at_us", "authorization_id", "parent_id", "parent_sequence", "parent_remaining"),
    *("released", "expires_at_us", "group_id"),
]
_TEXTS = ["kind", "step_up", "currency", "client", "reference", "parent_state", "review"]
_COLUMNS = [
    *_NUMBERS,
    *(f"{name}::text" for name in _TEXTS),
    "details_hash",
]


@app.command()
def bench(
    transfers: Annotated[int, typer.Option(min=1_000, max=50_000_000)] = 200_000,
    rounds: Annotated[int, typer.Option(min=1, max=100)] = 3,
) -> None:
    """Measure sealing, following, and hashing alone, on a PostgreSQL of its own."""
    with tempfile.TemporaryDirectory(prefix="paycore-chain-bench-") as folder:
        # The server runs as another user when this runs as root, and must reach its folder.
        Path(folder).chmod(0o755)
        stack = LocalStack(Path(folder) / "state", parts={"postgres"}, schema=True)
        endpoints = stack.start()
        try:
            with own_database(endpoints, prepare_template(endpoints)) as own:
                server = psutil.Process(stack.part_pids("postgres")[0])
                uvloop.run(_measure(own, server, transfers, rounds))
        finally:
            stack.stop()


async def _measure(own: OwnDatabase, server: psutil.Process, transfers: int, rounds: int) -> None:
    console.print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {len(os.sched_getaffinity(0))} cores,"
        f" load {os.getloadavg()[0]:.1f}"
    )
    connection = await asyncpg.connect(own.admin_dsn)
    ledger = await BulkLedger.open(connection, transfers)
    await ledger.fill(transfers - ledger.written)
    await connection.execute("VACUUM (ANALYZE)")
    for _ in range(rounds):
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("ALTER TABLE ledger.seals DISABLE TRIGGER append_only")
        await connection.execute("DELETE FROM ledger.seals")
        await connection.execute("ALTER TABLE ledger.seals ENABLE ALWAYS TRIGGER append_only")
        await connection.execute("DELETE FROM projection.checkpoints")

        async def seal() -> object:
            return await seal_journal(own.dsn("projector"), entries=AT_ONCE)

        async def follow() -> object:
            report = await verify_chain(own.dsn("audit"))
            assert report.held
            return report

        await _time("sealed", seal, server, ledger.written)
        await _time("followed", follow, server, ledger.written)
        for what, work in (("hashed in PostgreSQL", _there), ("hashed here", _here)):
            await _time(what, lambda work=work: _all(own, work), server, ledger.written)  # type: ignore[misc]
    await connection.close()


async def _time(
    what: str, work: Callable[[], Awaitable[object]], server: psutil.Process, transfers: int
) -> None:
    # A session's own time is added to the server's once it has ended.
    began_s, here_s, there_s = time.monotonic(), time.process_time(), _busy_s(server)
    await work()
    wall_s = time.monotonic() - began_s
    here_s = time.process_time() - here_s
    await asyncio.sleep(0.3)
    there_s = _busy_s(server) - there_s
    console.print(
        f"{what}: {transfers / wall_s:,.0f} transfers/s; {transfers / (here_s + there_s):,.0f}/s"
        f" a core ({here_s * 1e6 / transfers:.1f} us here,"
        f" {there_s * 1e6 / transfers:.1f} us in PostgreSQL)",
        soft_wrap=True,
    )


def _busy_s(server: psutil.Process) -> float:
    times = server.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


Hash = Callable[[asyncpg.Connection, list[int]], Awaitable[object]]


async def _all(own: OwnDatabase, work: Hash) -> None:
    connection = await asyncpg.connect(own.dsn("projector"))
    async for keys in _journal(connection):
        await work(connection, keys)
    await connection.close()


async def _journal(connection: asyncpg.Connection) -> Any:
    for row in await connection.fetch("SELECT transfers FROM ledger.journal ORDER BY xid, id"):
        if row["transfers"]:
            yield row["transfers"]


async def _there(connection: asyncpg.Connection, keys: list[int]) -> object:
    return dict(await _queries.hash_transfers(connection, ids=keys))


async def _here(connection: asyncpg.Connection, keys: list[int]) -> object:
    rows = await connection.fetch(
        f"SELECT {', '.join(_COLUMNS)} FROM ledger.transfers WHERE id = ANY ($1)", keys
    )
    return {row[0]: _leaf(row) for row in rows}


_number = struct.Struct(">iiq").pack
_head = struct.Struct(">ii").pack
_ABSENT = _head(20, -1), _head(25, -1), _head(17, -1)


def _leaf(row: Any) -> bytes:
    # The fields' order does not matter to their cost.
    parts = [_head(27, 25)]
    for value in row[: len(_NUMBERS)]:
        parts.append(_ABSENT[0] if value is None else _number(20, 8, value))
    for value in row[len(_NUMBERS) : -1]:
        if value is None:
            parts.append(_ABSENT[1])
        else:
            raw = value.encode()
            parts += (_head(25, len(raw)), raw)
    raw = row[-1]
    parts += (_ABSENT[2],) if raw is None else (_head(17, len(raw)), raw)
    return hashlib.sha256(b"".join(parts)).digest()


if __name__ == "__main__":
    app()

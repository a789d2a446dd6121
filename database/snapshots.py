"""Several sessions on one snapshot."""

from __future__ import annotations

import re

import asyncpg

_NAME = re.compile(r"[0-9A-F]+-[0-9A-F]+-[0-9]+")


async def take_snapshot(connection: asyncpg.Connection, name: str) -> None:
    """Let the transaction of `connection`, in which nothing was read yet, see snapshot `name`.

    `name` is what pg_export_snapshot gave; raises ValueError when it cannot be.
    """
    if _NAME.fullmatch(name) is None:
        raise ValueError("not the name of a snapshot")
    # The statement takes no parameters.
    await connection.execute(f"SET TRANSACTION SNAPSHOT '{name}'")

"""Follows the chain of seals with nothing of paycore's: what docs/seal.md says, written anew.

    .venv/bin/python docs/examples/follow_chain.py DSN

DSN is that of a role that may read. Prints the chain's head as HASH:NUMBER, or what differs first.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
import sys
from typing import Any

import asyncpg

INTEGER, TEXT, BYTES = 20, 25, 17

TRANSFER = (
    "id:i debit_account:i credit_account:i amount:i debit_version:i credit_version:i"
    " debit_balance_after:i credit_balance_after:i debit_held_after:i created_at_us:i"
    " effective_at_us:i authorization_id:i kind:t step_up:t currency:t client:t reference:t"
    " details_hash:b parent_id:i parent_sequence:i parent_remaining:i parent_state:t released:i"
    " expires_at_us:i group_id:i review:t"
)
DECLINE = (
    "id:i debit_account:i credit_account:i amount:i created_at_us:i effective_at_us:i kind:t"
    " currency:t client:t reason:t figures:t reference:t details_hash:b parent_id:i group_id:i"
    " xid:t"
)
ACCOUNT = "id:i created_at_us:i kind:t currency:t owner:t institution:t opened_by:t"
NAMED = (
    ("transfers", "transfer", TRANSFER),
    ("declines", "decline", DECLINE),
    ("accounts", "account", ACCOUNT),
)
TYPES = {"i": INTEGER, "t": TEXT, "b": BYTES}


def encode(fields: list[tuple[int, Any]]) -> bytes:
    """Count, then of each field type, length and value; -1 for the length of one that is absent."""
    parts = [struct.pack(">i", len(fields))]
    for kind, value in fields:
        if value is None:
            parts.append(struct.pack(">ii", kind, -1))
            continue
        raw = value
        if kind == INTEGER:
            raw = struct.pack(">q", value)
        elif kind == TEXT:
            raw = value.encode()
        parts.append(struct.pack(">ii", kind, len(raw)) + raw)
    return b"".join(parts)


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def leaf(word: str, layout: str, row: Any) -> bytes:
    """The hash of a row of the ledger, whose columns `layout` names with their types."""
    columns = [column.split(":") for column in layout.split()]
    return sha256(encode([(TEXT, word), *((TYPES[kind], row[name]) for name, kind in columns)]))


def digest(row: Any, leaves: list[bytes]) -> bytes:
    """The hash of a row of the journal, and of what it names."""
    lists = [
        (TEXT, ",".join(map(str, row[name])))
        for name in ("transfers", "declines", "accounts", "erased_keys")
    ]
    own = [(TEXT, "journal"), (INTEGER, row["xid"]), (INTEGER, row["id"])]
    return sha256(encode([*own, (INTEGER, row["created_at_us"]), *lists]) + b"".join(leaves))


def seal_hash(seal: Any) -> bytes:
    numbers = (
        "number", "epoch", "first_xid", "first_id", "last_xid", "last_id", "journal_rows",
        "sealed_at_us",
    )  # fmt: skip
    fields = [(TEXT, "seal"), *((INTEGER, seal[name]) for name in numbers)]
    return sha256(encode([*fields, (BYTES, seal["previous"]), (BYTES, sha256(seal["digests"]))]))


async def leaves_of(connection: asyncpg.Connection, row: Any) -> list[bytes]:
    leaves = []
    for table, word, layout in NAMED:
        columns = ", ".join(
            f"{name}::text" if kind == "t" else name
            for name, kind in (column.split(":") for column in layout.split())
        )
        for key in row[table]:
            found = await connection.fetchrow(
                f"SELECT {columns} FROM ledger.{table} WHERE id = $1",  # noqa: S608
                key,
            )
            if found is None:
                raise SystemExit(f"{word} {key} is gone, which journal row {row['id']} names")
            leaves.append(leaf(word, layout, found))
    return leaves


async def follow(dsn: str) -> str:
    """The chain's head. Raises SystemExit with what differs first."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            number, previous, after = 0, bytes(32), (0, 0)
            for seal in await connection.fetch("SELECT * FROM ledger.seals ORDER BY number"):
                number += 1
                if seal["number"] != number or seal["previous"] != previous:
                    raise SystemExit(f"seal {seal['number']} does not follow on seal {number - 1}")
                if seal_hash(seal) != seal["hash"]:
                    raise SystemExit(f"seal {number} was changed")
                last = seal["last_xid"], seal["last_id"]
                rows = await connection.fetch(
                    "SELECT * FROM ledger.journal WHERE (xid, id) > ($1::xid8, $2::bigint)"
                    " AND (xid, id) <= ($3::xid8, $4::bigint) ORDER BY xid, id",
                    *after,
                    *last,
                )
                found = b"".join([digest(row, await leaves_of(connection, row)) for row in rows])
                if found != seal["digests"]:
                    raise SystemExit(f"the journal rows of seal {number} are not as they were")
                previous, after = seal["hash"], last
            return f"{previous.hex()}:{number}"
    finally:
        await connection.close()


if __name__ == "__main__":
    print(asyncio.run(follow(sys.argv[1])))

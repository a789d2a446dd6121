"""Hashes rows of the journal with all that they name: the decoder of the chain of seals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

import database
from paycore.domain.chain import JournalFields, SealedRow, row_digest
from projector.batch import Decoded, Row
from projector.errors import LedgerIncompleteError

_NAMED = ("transfers", "declines", "accounts")


class Digester:
    """Has PostgreSQL hash the rows: they need not travel, and this process's loop stays free."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._queries: Any = database.load("chain")

    async def decode(self, journal: Sequence[Row]) -> Decoded[SealedRow]:
        """A digest a row. Raises LedgerIncompleteError."""
        leaves = {table: await self._hash(table, journal) for table in _NAMED}
        return Decoded([_sealed(row, leaves) for row in journal])

    async def _hash(self, table: str, journal: Sequence[Row]) -> Mapping[int, bytes]:
        keys = {key for row in journal for key in row[table]}
        if not keys:
            return {}
        hash_rows = getattr(self._queries, f"hash_{table}")
        leaves: dict[int, bytes] = dict(await hash_rows(self._connection, ids=list(keys)))
        lacking = keys - leaves.keys()
        if lacking:
            raise LedgerIncompleteError(
                f"the journal names {len(lacking)} rows that ledger.{table} lacks,"
                f" the first with id {min(lacking)}"
            )
        return leaves


def _sealed(row: Row, leaves: Mapping[str, Mapping[int, bytes]]) -> SealedRow:
    fields = JournalFields(
        row["xid"],
        row["id"],
        row["created_at_us"],
        row["transfers"],
        row["declines"],
        row["accounts"],
        row["erased_keys"],
    )
    named = [leaves[table][key] for table in _NAMED for key in row[table]]
    return SealedRow(row["xid"], row["id"], row_digest(fields, named))

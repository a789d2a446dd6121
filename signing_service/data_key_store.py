"""Wrapped data keys in PostgreSQL, shared by all signing processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import database
from signing_service.transactions import Transactions


class NewKey(NamedTuple):
    """A key that was made and is not stored yet."""

    key_id: int
    subject: str
    wrapping_key_id: str
    wrapped: bytes


class StoredKey(NamedTuple):
    """A key in force as it is stored."""

    key_id: int
    subject: str
    wrapping_key_id: str
    wrapped: bytes


class Destroyed(NamedTuple):
    """What became of a subject's keys."""

    ids: list[int]
    """Of all that it ever had, in rising order."""
    now: int
    """How many of them were in force until now."""


class DataKeyStore:
    """Tables signing.data_keys and signing.destroyed_data_keys.

    Every method raises PaycoreError DATABASE_UNAVAILABLE or CONTENTION when the database cannot do
    it now.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._queries: Any = database.load("data_keys")

    async def find_in_force(self, subjects: Sequence[str]) -> dict[str, StoredKey]:
        """By subject, the keys of those that have one."""
        async with self._transactions.statement() as connection:
            rows = await self._queries.find_in_force(connection, subjects=subjects)
        return {row["subject"]: StoredKey(*row) for row in rows}

    async def add(self, keys: Sequence[NewKey]) -> dict[str, StoredKey]:
        """Store those of `keys` whose subjects have none; by subject, what was stored."""
        # In one order, so that two who add the same cannot wait for each other.
        ordered = sorted(keys, key=lambda key: key.subject)
        async with self._transactions.statement() as connection:
            rows = await self._queries.add(
                connection,
                ids=[key.key_id for key in ordered],
                subjects=[key.subject for key in ordered],
                wrapping_key_ids=[key.wrapping_key_id for key in ordered],
                wrapped=[key.wrapped for key in ordered],
            )
        return {row["subject"]: StoredKey(*row) for row in rows}

    async def find(self, key_ids: Sequence[int]) -> tuple[dict[int, StoredKey], set[int]]:
        """Those that are in force by their ids, and the ids of those that were destroyed."""
        async with self._transactions.statement() as connection:
            rows = await self._queries.find(connection, ids=key_ids)
            found = {row["id"]: StoredKey(*row) for row in rows}
            lacking = [key_id for key_id in key_ids if key_id not in found]
            if not lacking:
                return found, set()
            gone = await self._queries.find_destroyed(connection, ids=lacking)
        return found, {row["id"] for row in gone}

    async def destroy(self, subject: str) -> Destroyed:
        """Remove the keys of `subject`, and its PIN and devices' keys with them."""
        async with self._transactions.begin() as connection:
            await self._queries.forget_approvals(connection, subject=subject)
            gone = await self._queries.destroy(connection, subject=subject)
            rows = await self._queries.find_destroyed_of(connection, subject=subject)
        return Destroyed([row["id"] for row in rows], len(gone))

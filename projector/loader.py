"""Loads rows of the ledger with all that their documents tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import asyncpg

import database
from projector.batch import Decoded, Document, Row
from projector.details import Opener
from projector.documents import decline_document, transfer_document
from projector.errors import LedgerIncompleteError
from projector.pages import PageRows, changed_accounts, named, page_documents, parents

CLOCKS_APART = 86_400_000 << 22
"""How far an id may lie below that of an earlier transfer, made by another process: a day, in units
of Snowflake ids."""


class Loader:
    """Makes documents of rows as they stand now: the decoder of a search index."""

    def __init__(self, connection: asyncpg.Connection, opener: Opener) -> None:
        self._connection = connection
        self._opener = opener
        self._queries: Any = database.load("projector")

    async def decode(self, journal: Sequence[Row]) -> Decoded[Document]:
        """What a stretch of the journal names. Raises LedgerIncompleteError."""
        transfers = await self._load("transfers", named(journal, "transfers"))
        transfers |= await self._load("transfers", parents(transfers))
        latest_children = await self._latest_children(transfers)
        declines = await self._load("declines", named(journal, "declines"))
        changed = changed_accounts(journal, transfers)
        accounts = await self._load("accounts", changed, may_lack=_sides(declines) - changed)
        details, withheld = await self._opener.open([*transfers.values(), *declines.values()])
        rows = PageRows(transfers, declines, accounts, latest_children, details)
        return Decoded(page_documents(journal, rows), withheld)

    async def transfers_and_declines(self, ids: Sequence[int]) -> Decoded[Document]:
        """Those with `ids`, alone. Raises LedgerIncompleteError for one that is neither."""
        transfers = await self._load("transfers", (), may_lack=ids)
        latest_children = await self._latest_children(transfers)
        declines = await self._load("declines", set(ids) - transfers.keys())
        sides = _sides(transfers)
        accounts = await self._load("accounts", sides, may_lack=_sides(declines) - sides)
        details, withheld = await self._opener.open([*transfers.values(), *declines.values()])
        documents = [
            transfer_document(row, accounts, latest_children.get(key), details.get(key))
            for key, row in transfers.items()
        ]
        documents += [
            decline_document(row, accounts, details.get(key)) for key, row in declines.items()
        ]
        return Decoded(documents, withheld)

    async def _latest_children(self, transfers: Mapping[int, Row]) -> Mapping[int, Row]:
        if not transfers:
            return {}
        rows = await self._queries.load_latest_children(
            self._connection, ids=sorted(transfers), above=min(transfers) - CLOCKS_APART
        )
        return {row["id"]: row for row in rows}

    async def _load(
        self, table: str, needed: Iterable[int], may_lack: Iterable[int] = ()
    ) -> dict[int, Row]:
        needed = set(needed)
        keys = {*needed, *may_lack}
        if not keys:
            return {}
        load = getattr(self._queries, f"load_{table}")
        rows: dict[int, Row] = {
            row["id"]: row for row in await load(self._connection, ids=list(keys))
        }
        lacking = needed - rows.keys()
        if lacking:
            raise LedgerIncompleteError(
                f"the journal names {len(lacking)} rows that ledger.{table} lacks,"
                f" the first with id {min(lacking)}"
            )
        return rows


def _sides(rows: Mapping[int, Row]) -> set[int]:
    sides = {row["debit_account"] for row in rows.values()}
    sides.update(row["credit_account"] for row in rows.values())
    return sides

"""Reads the index as it can be searched, and holds it against the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from elasticsearch import ApiError, AsyncElasticsearch, NotFoundError

from paycore.domain.position import Position
from tests.integration.projector.ledger import TestLedger
from tests.support.index_checks import ALL_TRANSFERS, FIELDS

ACCOUNT_COLUMNS = (
    "id", "currency", "owner", "institution", "opened_by", "balance", "held", "overdraft_limit",
    "version", "revision", "created_at_us", "status", "kind",
)  # fmt: skip


class TestIndex:
    """The indices of one prefix."""

    __test__ = False

    def __init__(self, client: AsyncElasticsearch, prefix: str) -> None:
        self.client = client
        self.prefix = prefix

    async def documents(self, kind: str) -> dict[int, dict[str, Any]]:
        """Every searchable document by id. Fails when one is found twice."""
        found: dict[int, dict[str, Any]] = {}
        after: list[Any] | None = None
        while True:
            page = await self.client.search(
                index=f"{self.prefix}-{kind}",
                size=2_000,
                sort=[{"id": "asc"}],
                search_after=after,
            )
            hits = page["hits"]["hits"]
            if not hits:
                return found
            for hit in hits:
                key = hit["_source"]["id"]
                assert hit["_id"] == str(key)
                assert key not in found
                found[key] = hit["_source"]
            after = hits[-1]["sort"]

    async def get(self, transfer: int) -> dict[str, Any] | None:
        """One transfer as it stands, refreshed or not: with its index, version and source."""
        for made in await self.client.indices.get(index=f"{self.prefix}-transfers-*"):
            try:
                found = await self.client.get(index=made, id=str(transfer))
            except NotFoundError:
                continue
            return dict(found.body)
        return None

    async def lose(self, kind: str) -> None:
        """Delete the index of a kind, whatever version of its mapping it was made with."""
        for made in await self.client.indices.get(index=f"{self.prefix}-{kind}*"):
            await self.client.indices.delete(index=made)

    async def position(self) -> dict[str, int] | None:
        try:
            found = await self.client.get(index=f"{self.prefix}-positions", id="elasticsearch")
        except ApiError as error:
            # An index that was made this moment has no shard to ask yet.
            if error.status_code not in (404, 503):
                raise
            return None
        source: dict[str, int] = found["_source"]
        return source

    async def await_position(self, ledger: TestLedger, timeout_s: float = 60.0) -> None:
        """Return once all of the journal can be searched and the checkpoint has followed."""
        wanted = await self.await_told_of(ledger, timeout_s)

        async def followed() -> bool:
            return await ledger.checkpoint_xid() >= wanted.xid

        await until(followed, timeout_s)

    async def await_told_of(self, ledger: TestLedger, timeout_s: float = 60.0) -> Position:
        """Return once all of the journal can be searched."""
        last = (
            await ledger.rows(
                "SELECT epoch, xid, id FROM ledger.journal, ledger.epoch"
                " ORDER BY xid DESC, id DESC LIMIT 1"
            )
        )[0]
        wanted = Position(last["epoch"], last["xid"], last["id"])
        await self.await_told(wanted, timeout_s)
        return wanted

    async def await_told(self, wanted: Position, timeout_s: float = 60.0) -> None:
        """Return once the index says that all up to `wanted` can be searched."""

        async def reached() -> bool:
            told = await self.position()
            return (
                told is not None
                and Position(told["epoch"], told["xid"], told["journal_id"]) >= wanted
            )

        await until(reached, timeout_s)

    async def assert_equals(self, ledger: TestLedger) -> None:
        """Every transfer, decline and account is there once, as the ledger has it."""
        transfers = await self.documents("transfers")
        rows = await ledger.rows(ALL_TRANSFERS)
        assert sorted(transfers) == sorted(row["id"] for row in rows)
        for row in rows:
            assert {name: transfers[row["id"]].get(name) for name in FIELDS} == row
        accounts = await self.documents("accounts")
        columns = ", ".join(ACCOUNT_COLUMNS)
        columns = columns.replace("status, kind", "status::text, kind::text")
        rows = await ledger.rows(f"SELECT {columns} FROM ledger.accounts")
        assert sorted(accounts) == sorted(row["id"] for row in rows)
        for row in rows:
            assert {name: accounts[row["id"]][name] for name in ACCOUNT_COLUMNS} == row


async def until(condition: Callable[[], Any], timeout_s: float = 60.0) -> None:
    """Await `condition()` being true, asked every 20 ms. Raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.02)

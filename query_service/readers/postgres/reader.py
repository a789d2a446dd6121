"""The readers' port on the ledger itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import asyncpg

import database
from paycore.domain.accounts import AccountId
from paycore.domain.money import Minor
from paycore.domain.transfers import TransferId
from paycore.runtime.clock import Clock
from paycore.runtime.snowflake import first_id_at
from query_service.readers.ids import CLOCKS_APART_US
from query_service.readers.port import (
    MAX_TOTAL,
    Answer,
    PageKey,
    ReadTerms,
    StatementFilter,
    StatementPlace,
    Total,
    TransferFilter,
)
from query_service.readers.postgres import rows
from query_service.readers.postgres.rows import OpensDetails, Row, Shown
from query_service.readers.postgres.snapshots import Snapshots
from query_service.readers.records import (
    AccountRecord,
    PastBalance,
    StatementPage,
    TransferRecord,
)

KEYS_WITHIN_S = 0.25
"""How long an answer waits at most for the keys of its rows, in seconds."""

END_OF_TIME = 2**63 - 1


class Stretch(NamedTuple):
    """The part of a history in which rows are looked for."""

    above: int
    """Entries with a higher version than this,"""
    versions: int
    """so many versions on."""
    lowest_id: int
    id_span: int


class PostgresReader:
    """Answers from the ledger; implements HistoryReader."""

    def __init__(self, snapshots: Snapshots, opener: OpensDetails, clock: Clock) -> None:
        self._snapshots = snapshots
        self._opener = opener
        self._clock = clock
        self._queries: Any = database.load("history")

    async def account(self, account: AccountId, terms: ReadTerms) -> Answer[AccountRecord | None]:
        """The account as it stands."""
        async with self._snapshots.read(terms) as (connection, freshness):
            row = await self._queries.find_account(connection, account=account)
        return Answer(None if row is None else rows.account(row), freshness)

    async def transfer(
        self, transfer: TransferId, terms: ReadTerms
    ) -> Answer[TransferRecord | None]:
        """The transfer, or the stored decline, as it stands."""
        async with self._snapshots.read(terms) as (connection, freshness):
            row = await self._queries.find_transfer(connection, id=transfer)
            declined = None
            latest: dict[int, Row] = {}
            if row is None:
                declined = await self._queries.find_decline(connection, id=transfer)
            else:
                latest = await self._latest_children(connection, [row])
        found = row if row is not None else declined
        if found is None:
            return Answer(None, freshness)
        shown = (await self._details([found], terms)).get(transfer)
        record = (
            rows.decline(found, shown)
            if row is None
            else rows.transfer(found, latest.get(transfer), shown)
        )
        return Answer(record, freshness)

    async def transfers(
        self, wanted: TransferFilter, after: PageKey | None, limit: int, terms: ReadTerms
    ) -> Answer[list[TransferRecord]]:
        """One page: both sides of the account by their versions, merged."""
        place = _place(wanted, after)
        asked = {**_asked(wanted, place), "max_rows": limit}
        async with self._snapshots.read(terms) as (connection, freshness):
            stretch = await self._stretch(connection, wanted, after)
            posted = await self._queries.list_transfers(connection, **asked, **stretch._asdict())
            latest = await self._latest_children(connection, posted)
            declined = []
            if wanted.include_declines:
                declined = await self._queries.list_declines(connection, **asked)
        found = sorted([*posted, *declined], key=_newest_first)[:limit]
        details = await self._details(found, terms)
        refused = {row["id"] for row in declined}
        return Answer(
            [
                rows.decline(row, details.get(row["id"]))
                if row["id"] in refused
                else rows.transfer(row, latest.get(row["id"]), details.get(row["id"]))
                for row in found
            ],
            freshness,
        )

    async def total(self, wanted: TransferFilter, terms: ReadTerms) -> Answer[Total]:
        """See the port: rows are counted up to one more than is told."""
        place = _place(wanted, None)
        asked = {**_asked(wanted, place), "max_rows": MAX_TOTAL + 1}
        async with self._snapshots.read(terms) as (connection, freshness):
            stretch = await self._stretch(connection, wanted, None)
            count = await self._queries.count_transfers(
                connection, **asked, **stretch._asdict(), with_declines=wanted.include_declines
            )
        return Answer(Total.of(count), freshness)

    async def balance_at(
        self, account: AccountId, at_us: int, terms: ReadTerms
    ) -> Answer[PastBalance]:
        """See the port: from the last entry, which is found by bisection."""
        async with self._snapshots.read(terms) as (connection, freshness):
            version = await self._version(connection, account, at_us + 1)
            entry = await self._queries.find_entry(connection, account=account, version=version)
        if entry is None:
            return Answer(PastBalance(0, Minor(0), Minor(0)), freshness)
        return Answer(PastBalance(version, entry["balance_after"], entry["held_after"]), freshness)

    async def statement(
        self, wanted: StatementFilter, after: StatementPlace | None, limit: int, terms: ReadTerms
    ) -> Answer[StatementPage]:
        """See the port: in one snapshot, so no entry is missing before another."""
        account, start_us = wanted.account, wanted.start_us
        async with self._snapshots.read(terms) as (connection, freshness):
            if after is None:
                above = await self._version(connection, account, start_us)
                entry = await self._queries.find_entry(connection, account=account, version=above)
                opening = 0 if entry is None else entry["balance_after"]
            else:
                above, opening, start_us = after.version, after.balance, after.created_at_us
            upto = await self._version(connection, account, wanted.end_us)
            entries = await self._queries.list_entries(
                connection,
                account=account,
                above=above,
                versions=max(0, upto - above),
                **_ids(start_us, wanted.end_us),
                with_holds=wanted.include_holds,
                max_rows=limit,
            )
        details = await self._details(entries, terms)
        listed = [rows.entry(row, details.get(row["id"])) for row in entries]
        return Answer(StatementPage(Minor(opening), listed), freshness)

    async def _stretch(
        self, connection: asyncpg.Connection, wanted: TransferFilter, after: PageKey | None
    ) -> Stretch:
        account, start_us, end_us = wanted.account, wanted.start_us, wanted.end_us
        above, upto = 0, END_OF_TIME
        if start_us is not None:
            above = await self._version(connection, account, start_us)
        if after is not None:
            # The row that ended the last page says where it stands, unless it is no entry.
            version = await self._queries.version_of(connection, account=account, transfer=after.id)
            if version is not None:
                upto = version - 1
            else:
                # An entry of the same time may stand above or below it, as their ids say.
                upto = await self._version(connection, account, after.created_at_us + 1)
        elif end_us is not None:
            upto = await self._version(connection, account, end_us)
        before_us = end_us if after is None else after.created_at_us
        return Stretch(above, max(0, upto - above), **_ids(start_us, before_us))

    async def _version(
        self, connection: asyncpg.Connection, account: AccountId, before_us: int
    ) -> int:
        version = await self._queries.find_version(connection, account=account, before_us=before_us)
        if version is None:
            row = await self._queries.find_account(connection, account=account)
            if row is not None:
                raise RuntimeError(f"entries of account {account} are missing")
            return 0
        return int(version)

    async def _latest_children(
        self, connection: asyncpg.Connection, posted: Sequence[Row]
    ) -> dict[int, Row]:
        if not posted:
            return {}
        ids = [row["id"] for row in posted]
        found = await self._queries.find_latest_children(
            connection, ids=ids, above=min(ids) - _CLOCKS_APART_IDS
        )
        return {row["id"]: row for row in found}

    async def _details(self, found: Sequence[Row], terms: ReadTerms) -> dict[int, Shown]:
        remaining_s = max(0.0, terms.deadline_s - self._clock.monotonic_s())
        return await self._opener.open(found, min(remaining_s / 2, KEYS_WITHIN_S))


_CLOCKS_APART_IDS = CLOCKS_APART_US // 1_000 << 22


def _asked(wanted: TransferFilter, place: PageKey) -> dict[str, Any]:
    """The filters of a list as its queries take them."""
    return {
        "account": wanted.account,
        "start_us": wanted.start_us or 0,
        "before_us": place.created_at_us,
        "before_id": place.id,
        "kinds": sorted(wanted.kinds) or None,
        "counterparty": wanted.counterparty,
        "min_amount": wanted.min_amount,
        "max_amount": wanted.max_amount,
        "reference": wanted.reference,
    }


def _place(wanted: TransferFilter, after: PageKey | None) -> PageKey:
    """Below which place the page begins."""
    if after is not None:
        return after
    end_us = END_OF_TIME if wanted.end_us is None else wanted.end_us
    return PageKey(end_us, -END_OF_TIME)


def _ids(start_us: int | None, before_us: int | None) -> dict[str, int]:
    """Bounds on ids of transfers between these times."""
    lowest = 0 if start_us is None else first_id_at(start_us - CLOCKS_APART_US)
    highest = END_OF_TIME if before_us is None else first_id_at(before_us + CLOCKS_APART_US)
    return {"lowest_id": lowest, "id_span": max(0, highest - lowest)}


def _newest_first(row: Row) -> tuple[int, int]:
    return -row["created_at_us"], -row["id"]

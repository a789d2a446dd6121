"""Balances at a time and statements, from the documents of an account's entries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.money import Minor
from query_service.readers.elastic import documents, entry_requests
from query_service.readers.elastic.source import ElasticSource
from query_service.readers.ids import not_before_us
from query_service.readers.port import Answer, ReadTerms, StatementFilter, StatementPlace
from query_service.readers.records import EntryRecord, PastBalance, StatementPage
from query_service.statements import fault

RETRY_AFTER_MS = 200


class EntriesReader(ElasticSource):
    """What is asked of an account's entries, whose versions are in the order of time."""

    async def balance_at(
        self, account: AccountId, at_us: int, terms: ReadTerms
    ) -> Answer[PastBalance]:
        """See the port: from the last entry, and what was held from the last debit."""
        freshness = await self._freshness(terms)
        self._positions.check_covers(at_us + 1)
        last = await self._last(account, at_us, terms, paid=False)
        self._check_reaches(_time(last, account))
        if last is None:
            return Answer(PastBalance(0, Minor(0), Minor(0)), freshness)
        entry = documents.entry(last, account)
        holding: Mapping[str, Any] | None = last
        if last["debit_account"] != account:
            holding = await self._last(account, entry.created_at_us, terms, paid=True)
            self._check_reaches(_time(holding, account))
        held = 0 if holding is None else holding["debit_held_after"]
        return Answer(PastBalance(entry.version, entry.balance_after, Minor(held)), freshness)

    async def statement(
        self, wanted: StatementFilter, after: StatementPlace | None, limit: int, terms: ReadTerms
    ) -> Answer[StatementPage]:
        """See the port. Raises INDEX_BEHIND where a later entry is searchable before an earlier."""
        freshness = await self._freshness(terms)
        self._positions.check_covers(wanted.end_us)
        begun_us = wanted.start_us if after is None else after.created_at_us
        self._check_reaches(max(begun_us, not_before_us(wanted.account)))
        opened = after or await self._opening(wanted, terms)
        reply = await self._connection.search(
            self._transfers,
            entry_requests.statement(wanted, opened.created_at_us, limit),
            terms.deadline_s,
        )
        entries: list[EntryRecord] = [
            documents.entry(hit["_source"], wanted.account) for hit in reply["hits"]["hits"]
        ]
        page = StatementPage(Minor(opened.balance), entries)
        wrong = fault(page, opened.version, gap_free=wanted.include_holds)
        if wrong is not None:
            raise PaycoreError(
                Reason.INDEX_BEHIND,
                f"the index lacks an entry: {wrong}",
                retry_after_ms=RETRY_AFTER_MS,
            )
        return Answer(page, freshness)

    async def _opening(self, wanted: StatementFilter, terms: ReadTerms) -> StatementPlace:
        last = await self._last(wanted.account, wanted.start_us - 1, terms, paid=False)
        self._check_reaches(_time(last, wanted.account))
        if last is None:
            return StatementPlace(0, wanted.start_us - 1, 0)
        entry = documents.entry(last, wanted.account)
        return StatementPlace(entry.version, wanted.start_us - 1, entry.balance_after)

    async def _last(
        self, account: AccountId, at_us: int, terms: ReadTerms, *, paid: bool
    ) -> Mapping[str, Any] | None:
        reply = await self._connection.search(
            self._transfers, entry_requests.last(account, at_us, paid=paid), terms.deadline_s
        )
        hits = reply["hits"]["hits"]
        return hits[0]["_source"] if hits else None


def _time(found: Mapping[str, Any] | None, account: AccountId) -> int:
    """From which time on all entries must be there for `found` to be the last."""
    return not_before_us(account) if found is None else int(found["created_at_us"])

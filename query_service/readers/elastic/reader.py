"""The readers' port on Elasticsearch."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any

from paycore.domain.accounts import AccountId
from paycore.domain.errors import invalid_field
from paycore.domain.transfers import TransferId
from query_service.positions import IndexPosition, PositionTracker
from query_service.readers.elastic import documents, requests
from query_service.readers.elastic.connection import Connection
from query_service.readers.port import (
    MAX_COUNTERPARTIES,
    MAX_VOLUME_TOTALS,
    Answer,
    CounterpartyFilter,
    Freshness,
    PageKey,
    ReadTerms,
    TransferFilter,
    Viewer,
    VolumeFilter,
)
from query_service.readers.records import (
    AccountRecord,
    CounterpartyTotal,
    TransferRecord,
    VolumeTotal,
)

SOURCE = "elasticsearch"
SINK = "elasticsearch"
"""Name under which the projector stores this index's position."""


class ElasticPositions:
    """The position that the projector stores in the index itself."""

    def __init__(self, connection: Connection, prefix: str) -> None:
        self._connection = connection
        self._index = f"{prefix}-positions"

    async def read_position(self, deadline_s: float) -> IndexPosition | None:
        """See `PositionSource`. Real time: the document itself waits for no refresh."""
        source = await self._connection.document(self._index, SINK, deadline_s, realtime=True)
        return None if source is None else documents.position(source)


class ElasticReader:
    """Answers from the index; implements HistoryReader and AnalyticsReader.

    Single documents are read as of the last refresh, like searches, so that a balance, a transfer
    and a list agree with each other and with the position that they state.
    """

    def __init__(self, connection: Connection, positions: PositionTracker, prefix: str) -> None:
        self._connection = connection
        self._positions = positions
        self._transfers = f"{prefix}-transfers"
        self._accounts = f"{prefix}-accounts"

    async def account(self, account: AccountId, terms: ReadTerms) -> Answer[AccountRecord | None]:
        """The account as of the last refresh."""
        freshness = await self._freshness(terms)
        source = await self._connection.document(
            self._accounts, str(account), terms.deadline_s, realtime=False
        )
        return Answer(None if source is None else documents.account(source), freshness)

    async def transfer(
        self, transfer: TransferId, terms: ReadTerms
    ) -> Answer[TransferRecord | None]:
        """The transfer or stored decline as of the last refresh."""
        freshness = await self._freshness(terms)
        # Several indices stand behind the alias: a document cannot be asked for without its own.
        reply = await self._connection.search(
            self._transfers, requests.one(transfer), terms.deadline_s
        )
        hits = reply["hits"]["hits"]
        return Answer(documents.transfer(hits[0]["_source"]) if hits else None, freshness)

    async def transfers(
        self, wanted: TransferFilter, after: PageKey | None, limit: int, terms: ReadTerms
    ) -> Answer[list[TransferRecord]]:
        """One page. What is inserted meanwhile lies above `after` and moves nothing below it."""
        freshness = await self._freshness(terms)
        reply = await self._connection.search(
            self._transfers, requests.page(wanted, after, limit), terms.deadline_s
        )
        found = [documents.transfer(hit["_source"]) for hit in reply["hits"]["hits"]]
        return Answer(found, freshness)

    async def volume(
        self, wanted: VolumeFilter, viewer: Viewer, terms: ReadTerms
    ) -> Answer[list[VolumeTotal]]:
        """Composite buckets come ordered by (start, currency, kind)."""
        freshness = await self._freshness(terms)
        totals: list[VolumeTotal] = []
        request = partial(requests.volume, wanted, viewer)
        buckets = self._buckets(request, terms.deadline_s)
        async for page in buckets:
            totals += map(documents.volume_total, page)
            if len(totals) > MAX_VOLUME_TOTALS:
                raise invalid_field(
                    "end_time",
                    f"more than {MAX_VOLUME_TOTALS} buckets: ask for a shorter time, a wider "
                    "interval, or one currency",
                )
        return Answer(totals, freshness)

    async def counterparties(
        self, wanted: CounterpartyFilter, terms: ReadTerms
    ) -> Answer[list[CounterpartyTotal]]:
        """Exact: every counterparty of both directions is added up before any is left out."""
        freshness = await self._freshness(terms)
        totals: dict[int, list[int]] = {}
        for direction, (own, other) in enumerate(_DIRECTIONS):
            request = partial(requests.counterparties, wanted, own, other)
            buckets = self._buckets(request, terms.deadline_s)
            async for page in buckets:
                for bucket in page:
                    total = totals.setdefault(bucket["key"]["account"], [0, 0, 0])
                    total[direction] += documents.exact_sum(bucket)
                    total[_COUNT] += bucket["doc_count"]
                if len(totals) > MAX_COUNTERPARTIES:
                    raise invalid_field(
                        "start_time",
                        f"more than {MAX_COUNTERPARTIES} counterparties: ask for a shorter time",
                    )
        largest = heapq.nsmallest(
            wanted.limit,
            totals.items(),
            key=lambda item: (-(item[1][_SENT] + item[1][_RECEIVED]), item[0]),
        )
        return Answer(
            [
                CounterpartyTotal(AccountId(account), number, sent, received)
                for account, (sent, received, number) in largest
            ],
            freshness,
        )

    async def _freshness(self, terms: ReadTerms) -> Freshness:
        # Taken before the query: what was searchable then is in any later answer.
        if terms.min_position is not None:
            await self._positions.reach(terms.min_position, terms.deadline_s)
        seen = self._positions.seen
        return Freshness(SOURCE, None if seen is None else seen.position, self._positions.lag_us())

    async def _buckets(
        self, request: Callable[[Mapping[str, Any] | None], requests.Body], deadline_s: float
    ) -> AsyncIterator[list[Mapping[str, Any]]]:
        after: Mapping[str, Any] | None = None
        while True:
            reply = await self._connection.search(self._transfers, request(after), deadline_s)
            totals = reply["aggregations"]["totals"]
            yield totals["buckets"]
            after = totals.get("after_key")
            if after is None or len(totals["buckets"]) < requests.BUCKETS_A_PAGE:
                return


_SENT, _RECEIVED, _COUNT = range(3)
_DIRECTIONS = (("debit_account", "credit_account"), ("credit_account", "debit_account"))
"""The account's own field and the other's: sent, then received."""

"""The readers' port on Elasticsearch."""

from __future__ import annotations

from paycore.domain.accounts import AccountId
from paycore.domain.transfers import TransferId
from query_service.positions import IndexPosition
from query_service.readers.elastic import documents, requests
from query_service.readers.elastic.connection import Connection
from query_service.readers.elastic.entries import EntriesReader
from query_service.readers.ids import not_before_us
from query_service.readers.port import Answer, PageKey, ReadTerms, Total, TransferFilter
from query_service.readers.records import AccountRecord, TransferRecord

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


class ElasticReader(EntriesReader):
    """Answers from the index; implements HistoryReader.

    Single documents are read as of the last refresh, like searches, so that a balance, a transfer
    and a list agree with each other and with the position that they state.
    """

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
        # A search, not a document's read: the alias may stand for several indices.
        reply = await self._connection.search(
            self._transfers, requests.one_transfer(transfer), terms.deadline_s
        )
        hits = reply["hits"]["hits"]
        if not hits:
            self._check_reaches(not_before_us(transfer))
            return Answer(None, freshness)
        found = documents.transfer(hits[0]["_source"])
        # What is past retention stays for a while as it was: what follows it is not written there.
        self._check_reaches(found.created_at_us)
        return Answer(found, freshness)

    async def transfers(
        self, wanted: TransferFilter, after: PageKey | None, limit: int, terms: ReadTerms
    ) -> Answer[list[TransferRecord]]:
        """One page. What is inserted meanwhile lies above `after` and moves nothing below it."""
        freshness = await self._freshness(terms)
        reply = await self._connection.search(
            self._transfers, requests.page(wanted, after, limit), terms.deadline_s
        )
        found = [documents.transfer(hit["_source"]) for hit in reply["hits"]["hits"]]
        if len(found) < limit:
            self._check_reaches(max(wanted.start_us or 0, not_before_us(wanted.account)))
        elif found:
            # Of a month that is being dropped, some may be missing.
            self._check_reaches(found[-1].created_at_us)
        return Answer(found, freshness)

    async def total(self, wanted: TransferFilter, terms: ReadTerms) -> Answer[Total]:
        """See the port."""
        freshness = await self._freshness(terms)
        reply = await self._connection.search(
            self._transfers, requests.total(wanted), terms.deadline_s
        )
        total = Total.of(reply["hits"]["total"]["value"])
        if not total.at_least:
            self._check_reaches(max(wanted.start_us or 0, not_before_us(wanted.account)))
        return Answer(total, freshness)

"""What the search index holds, added up: to be held against the ledger."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from elasticsearch import ApiError, AsyncElasticsearch, NotFoundError, TransportError

from operations.verify.report import Total
from paycore.domain.limbs import LIMB_FIELDS, join
from paycore.domain.position import Position
from paycore.domain.transfers import TransferKind, TransferState

SINK = "elasticsearch"
POLL_S = 0.1
REQUEST_TIMEOUT_S = 30.0
MAX_CURRENCIES = 500
PASSING = frozenset({429, 503})
"""Answers of a node that is busy, or whose shards are not up yet: asked again within the wait."""

_DECLINED = {"term": {"state": TransferState.FAILED.value}}
_BY_CURRENCY: dict[str, Any] = {
    "currencies": {
        "terms": {"field": "currency", "size": MAX_CURRENCIES},
        "aggs": {field: {"sum": {"field": field}} for field in LIMB_FIELDS},
    }
}


class IndexBehindError(Exception):
    """The index did not come to the ledger's position in time."""


@dataclass(frozen=True, slots=True)
class IndexAddress:
    """Where Elasticsearch is and how long to wait for it to catch up, in seconds."""

    url: str
    user: str
    password: str = field(repr=False)
    prefix: str = "paycore"
    wait_s: float = 60.0


class Index:
    """Reads one prefix's indices; use it as an async context manager."""

    def __init__(self, address: IndexAddress) -> None:
        self._address = address
        self._client = AsyncElasticsearch(
            address.url,
            basic_auth=(address.user, address.password) if address.user else None,
            request_timeout=REQUEST_TIMEOUT_S,
            max_retries=0,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.close()

    async def wait_for(self, position: Position) -> None:
        """Return once everything up to `position` can be found.

        Raises IndexBehindError when that takes longer than the address's `wait_s`.
        """
        end_s = time.monotonic() + self._address.wait_s
        while (reached := await self._reached()) is None or reached < position:
            if time.monotonic() > end_s:
                raise IndexBehindError(
                    f"after {self._address.wait_s:g} s the index stands at {_words(reached)}, "
                    f"the ledger at {_words(position)}"
                )
            await asyncio.sleep(POLL_S)

    async def totals(self, before_us: int) -> list[Total]:
        """Count and exact sum, per kind and currency, of what was recorded before a time.

        Declines are told as FAILED, whatever their kind. The state of a transfer changes as others
        follow it; its kind does not.
        """
        reply = await self._client.search(
            index=f"{self._address.prefix}-transfers",
            size=0,
            track_total_hits=True,
            query={"range": {"created_at_us": {"lt": before_us}}},
            aggs={
                "posted": {
                    "filter": {"bool": {"must_not": [_DECLINED]}},
                    "aggs": {
                        "kinds": {
                            "terms": {"field": "kind", "size": len(TransferKind)},
                            "aggs": _BY_CURRENCY,
                        }
                    },
                },
                "declined": {"filter": _DECLINED, "aggs": _BY_CURRENCY},
            },
        )
        found = reply["aggregations"]
        groups = [(kind["key"], kind) for kind in found["posted"]["kinds"]["buckets"]]
        groups.append((TransferState.FAILED.value, found["declined"]))
        totals = [
            Total(name, currency["key"], currency["doc_count"], _joined(currency))
            for name, group in groups
            for currency in group["currencies"]["buckets"]
        ]
        return sorted(totals, key=lambda total: (total.state, total.currency))

    async def _reached(self) -> Position | None:
        try:
            found = await self._client.get(
                index=f"{self._address.prefix}-positions", id=SINK, realtime=True
            )
        except (NotFoundError, TransportError):
            return None
        except ApiError as error:
            if error.status_code in PASSING:
                return None
            raise
        source = found["_source"]
        return Position(source["epoch"], source["xid"], source["journal_id"])


def _joined(bucket: Any) -> int:
    return join(bucket[field]["value"] for field in LIMB_FIELDS)


def _words(position: Position | None) -> str:
    if position is None:
        return "no position"
    return f"transaction {position.xid} of epoch {position.epoch}"

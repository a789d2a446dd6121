"""What the search index holds, added up: to be held against the ledger."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from elasticsearch import ApiError, AsyncElasticsearch, NotFoundError, TransportError

from operations.verify.report import Total
from paycore.domain.position import Position
from paycore.domain.transfers import TransferState
from paycore.runtime.index_totals import day_totals

SINK = "elasticsearch"
POLL_S = 0.1
REQUEST_TIMEOUT_S = 30.0
PASSING = frozenset({429, 503})
"""Answers of a node that is busy, or whose shards are not up yet: asked again within the wait."""


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
        self._from_us = 0
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

    async def wait_for(self, position: Position) -> int:
        """Return once everything up to `position` can be found that the index keeps.

        What it keeps was recorded from the returned time on, in microseconds; 0 is all.

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
        return self._from_us

    async def totals(self, before_us: int, from_us: int = 0) -> list[Total]:
        """Count and exact sum, per kind and currency, of what was recorded in a time.

        Declines are told as FAILED, whatever their kind. The state of a transfer changes as others
        follow it; its kind does not.
        """
        found: Counter[tuple[str, str]] = Counter()
        sums: Counter[tuple[str, str]] = Counter()
        days = await day_totals(
            self._client, f"{self._address.prefix}-transfers", from_us, before_us
        )
        for group, added in days.items():
            declined = group.state == TransferState.FAILED
            key = (group.state if declined else group.kind, group.currency)
            found[key] += added.items
            sums[key] += added.total
        return [Total(*key, items, sums[key]) for key, items in sorted(found.items())]

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
        self._from_us = source.get("from_us", 0)
        return Position(source["epoch"], source["xid"], source["journal_id"])


def _words(position: Position | None) -> str:
    if position is None:
        return "no position"
    return f"transaction {position.xid} of epoch {position.epoch}"

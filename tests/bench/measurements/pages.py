"""Pages of history, at the caller."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence

from paycore.v1 import history_service_pb2 as history
from tests.bench.bed import Bed
from tests.bench.errors import BenchError
from tests.bench.figures import Latency, Sample
from tests.bench.lanes import Lanes
from tests.bench.load import Taken, shared_loops

LIST_TRANSFERS = "/paycore.v1.HistoryService/ListTransfers"
PAGE_SIZE = 50
MOST_CALLS_PER_S = 2_000
"""Bounds how many requests are made beforehand."""

SECOND_PAGES = 200
WARM_UP_S = 1.0


class HistoryPages:
    """ListTransfers of random accounts by `callers` at once, for some seconds."""

    unit = "pages"
    baseline = ""

    def __init__(self, bed: Bed, callers: int, *, first: bool, chance: random.Random) -> None:
        name = "first" if first else "second"
        self.key = f"page-{name}-{callers}"
        self.label = (
            f"{name} page of {PAGE_SIZE} of an account, {callers} caller{'s' * (callers > 1)}"
        )
        self._bed = bed
        self._callers = callers
        self._first = first
        self._chance = chance
        self._requests: list[bytes] = []

    async def warm_up(self) -> None:
        """Also checks that pages are full: empty ones would be quick."""
        async with self._lanes() as lanes:
            call = lanes.call(LIST_TRANSFERS)
            tokens: list[bytes] = []
            for account in self._chance.sample(self._bed.accounts, SECOND_PAGES):
                request = history.ListTransfersRequest(account_id=account, page_size=PAGE_SIZE)
                page = history.ListTransfersResponse.FromString(
                    await call(request.SerializeToString())
                )
                if not page.transfers:
                    raise BenchError(f"account {account} has no history")
                if page.next_page_token:
                    request.page_token = page.next_page_token
                    tokens.append(request.SerializeToString())
            self._requests = self._first_pages() if self._first else tokens
            if not self._requests:
                raise BenchError("no account has a second page: ask for more transfers")
            await self._load(lanes, WARM_UP_S)

    async def measure(self) -> Sample:
        bed = self._bed
        async with self._lanes() as lanes:
            if not self._requests:
                raise BenchError("there are no pages to read")
            meter = bed.meter()
            meter.start()
            taken = await self._load(lanes, bed.sizes.pages_s)
            count = len(taken.latencies_s)
            return Sample(count / taken.elapsed_s, Latency.of(taken.latencies_s), meter.per(count))

    def _first_pages(self) -> list[bytes]:
        return [
            history.ListTransfersRequest(
                account_id=account, page_size=PAGE_SIZE
            ).SerializeToString()
            for account in self._bed.accounts
        ]

    async def _load(self, lanes: Lanes, seconds: float) -> Taken:
        requests = self._chance.choices(self._requests, k=int(MOST_CALLS_PER_S * seconds))
        end_s = time.perf_counter() + seconds
        return await shared_loops(lanes.call(LIST_TRANSFERS), until(requests, end_s), self._callers)

    def _lanes(self) -> Lanes:
        return Lanes(
            self._bed.endpoints.query_target, self._bed.tls, self._callers, service="query"
        )


def until(requests: Sequence[bytes], end_s: float) -> Iterator[bytes]:
    """The requests, as long as the time is not up."""
    for request in requests:
        if time.perf_counter() >= end_s:
            return
        yield request

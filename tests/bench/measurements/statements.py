"""Statements, and a page deep in a walk, at the caller."""

from __future__ import annotations

import random
import time

from google.protobuf.timestamp_pb2 import Timestamp

from paycore.v1 import history_service_pb2 as history
from tests.bench.bed import Bed
from tests.bench.errors import BenchError
from tests.bench.figures import Latency, Sample
from tests.bench.lanes import Lanes
from tests.bench.load import shared_loops
from tests.bench.measurements.pages import LIST_TRANSFERS, PAGE_SIZE, until

GET_STATEMENT = "/paycore.v1.HistoryService/GetStatement"
ENTRIES = 1_000
DEEP = 1_000
"""Number of the page that is read deep in a walk; of the last one where there are fewer."""

MOST_CALLS_PER_S = 200


class Statements:
    """GetStatement of ENTRIES entries a page, of random accounts, by one caller."""

    key = "statement"
    label = f"page of {ENTRIES:,} entries of a statement, 1 caller"
    unit = "pages"
    baseline = ""

    def __init__(self, bed: Bed, chance: random.Random) -> None:
        self._bed = bed
        self._chance = chance
        self._requests: list[bytes] = []

    async def warm_up(self) -> None:
        """Also checks that there are entries."""
        now, start = Timestamp(), Timestamp(seconds=1)
        now.GetCurrentTime()
        self._requests = [
            history.GetStatementRequest(
                account_id=account, start_time=start, end_time=now, page_size=ENTRIES
            ).SerializeToString()
            for account in self._bed.accounts
        ]
        async with self._lanes() as lanes:
            call = lanes.call(GET_STATEMENT)
            for request in self._chance.sample(self._requests, 20):
                page = history.GetStatementResponse.FromString(await call(request))
                if not page.entries:
                    raise BenchError(f"account {page.account_id} has no entries")

    async def measure(self) -> Sample:
        bed = self._bed
        async with self._lanes() as lanes:
            requests = self._chance.choices(
                self._requests, k=int(MOST_CALLS_PER_S * bed.sizes.pages_s)
            )
            meter = bed.meter()
            meter.start()
            end_s = time.perf_counter() + bed.sizes.pages_s
            taken = await shared_loops(lanes.call(GET_STATEMENT), until(requests, end_s), 1)
            count = len(taken.latencies_s)
            return Sample(count / taken.elapsed_s, Latency.of(taken.latencies_s), meter.per(count))

    def _lanes(self) -> Lanes:
        return Lanes(self._bed.endpoints.query_target, self._bed.tls, 1, service="query")


class DeepPages:
    """The page at which a walk of DEEP pages ends, again and again, by one caller."""

    key = "page-deep"
    label = f"page {DEEP:,} of a walk, or the last, 1 caller"
    unit = "pages"
    baseline = ""

    def __init__(self, bed: Bed, chance: random.Random) -> None:
        self._bed = bed
        self._chance = chance
        self._request = b""

    async def warm_up(self) -> None:
        """Walk there."""
        request = history.ListTransfersRequest(
            account_id=self._chance.choice(self._bed.accounts), page_size=PAGE_SIZE
        )
        async with self._lanes() as lanes:
            call = lanes.call(LIST_TRANSFERS)
            for _ in range(DEEP - 1):
                page = history.ListTransfersResponse.FromString(
                    await call(request.SerializeToString())
                )
                if not page.next_page_token:
                    break
                request.page_token = page.next_page_token
        if not request.page_token:
            raise BenchError("the account has one page only: ask for more transfers")
        self._request = request.SerializeToString()

    async def measure(self) -> Sample:
        bed = self._bed
        async with self._lanes() as lanes:
            meter = bed.meter()
            meter.start()
            end_s = time.perf_counter() + bed.sizes.pages_s
            requests = [self._request] * int(MOST_CALLS_PER_S * 10 * bed.sizes.pages_s)
            taken = await shared_loops(lanes.call(LIST_TRANSFERS), until(requests, end_s), 1)
            count = len(taken.latencies_s)
            return Sample(count / taken.elapsed_s, Latency.of(taken.latencies_s), meter.per(count))

    def _lanes(self) -> Lanes:
        return Lanes(self._bed.endpoints.query_target, self._bed.tls, 1, service="query")

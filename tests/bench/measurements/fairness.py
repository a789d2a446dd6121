"""What a light client feels of another client's flood, in the same process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.bench.bed import FLOODER, SUBMIT_TRANSFER, SUBMIT_TRANSFERS, Bed, check_posted
from tests.bench.errors import BenchError
from tests.bench.figures import Latency, Sample
from tests.bench.lanes import Lanes, RawCall
from tests.bench.load import constant_rate
from tests.bench.sizes import BATCH, BULK_CALLERS, LIGHT_RATE_PER_S

FLOOD_ACCOUNTS = 1_000
MOST_IN_FLIGHT = 64


class LightClient:
    """Payments at a small constant rate, alone or beside a client that sends as fast as it can."""

    unit = ""

    def __init__(self, bed: Bed, target: str, *, flooded: bool) -> None:
        """`target` is one process's own port."""
        self.key = "light-flooded" if flooded else "light"
        self.baseline = "light" if flooded else ""
        self.label = f"SubmitTransfer, {LIGHT_RATE_PER_S}/s, one process, " + (
            f"{BULK_CALLERS} callers of another client in bulk" if flooded else "alone"
        )
        self._bed = bed
        self._target = target
        self._flooded = flooded
        self._flooders_accounts: list[int] = []

    async def warm_up(self) -> None:
        await self._run(LIGHT_RATE_PER_S)

    async def measure(self) -> Sample:
        return await self._run(self._bed.sizes.light)

    async def _run(self, calls: int) -> Sample:
        bed = self._bed
        requests = [bed.orders.transfer(bed.accounts).SerializeToString() for _ in range(calls)]
        async with Lanes(self._target, bed.tls, 1) as lanes:
            call = lanes.call(SUBMIT_TRANSFER)
            if not self._flooded:
                taken = await constant_rate(call, requests, LIGHT_RATE_PER_S, MOST_IN_FLIGHT)
                return Sample(latency=Latency.of(taken.latencies_s))
            async with self._flood() as posted:
                taken = await constant_rate(call, requests, LIGHT_RATE_PER_S, MOST_IN_FLIGHT)
                rate = sum(posted) / taken.elapsed_s
        return Sample(
            latency=Latency.of(taken.latencies_s), note=f"the flood got {rate:,.0f} transfers/s"
        )

    @asynccontextmanager
    async def _flood(self) -> AsyncIterator[list[int]]:
        """Another client's callers in bulk, while the block runs; yields counts as they post."""
        bed = self._bed
        async with Lanes(self._target, bed.endpoints.tls[FLOODER], BULK_CALLERS) as lanes:
            if not self._flooders_accounts:
                self._flooders_accounts = await bed.open_accounts(FLOOD_ACCOUNTS, lanes)
            posted: list[int] = []
            call = lanes.call(SUBMIT_TRANSFERS)
            callers = [
                asyncio.create_task(self._flood_for_ever(call, posted)) for _ in range(BULK_CALLERS)
            ]
            try:
                await asyncio.sleep(0.5)
                posted.clear()
                yield posted
            finally:
                for caller in callers:
                    caller.cancel()
                ends = await asyncio.gather(*callers, return_exceptions=True)
            for end in ends:
                if isinstance(end, BenchError):
                    raise end

    async def _flood_for_ever(self, call: RawCall, posted: list[int]) -> None:
        accounts = self._flooders_accounts
        # Made once and sent again with keys of their own: the flooder shares our cores.
        (raw,) = self._bed.orders.bulks(accounts, 1, BATCH)
        while True:
            check_posted(await call(self._bed.orders.with_new_keys(raw)))
            posted.append(BATCH)

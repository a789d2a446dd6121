"""What a light client feels of another client's flood, in the same process."""

from __future__ import annotations

from tests.bench.bed import FLOODER, SUBMIT_TRANSFER, Bed
from tests.bench.figures import Latency, Sample
from tests.bench.flood import flood
from tests.bench.lanes import Lanes
from tests.bench.load import constant_rate
from tests.bench.sizes import BULK_CALLERS, LIGHT_RATE_PER_S

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
            async with flood(
                self._target, bed.endpoints.tls[FLOODER], await self._floods()
            ) as other:
                taken = await constant_rate(call, requests, LIGHT_RATE_PER_S, MOST_IN_FLIGHT)
        return Sample(
            latency=Latency.of(taken.latencies_s), note=f"the flood got {other.rate:,} transfers/s"
        )

    async def _floods(self) -> list[int]:
        """The accounts of the other client."""
        bed = self._bed
        if not self._flooders_accounts:
            async with Lanes(self._target, bed.endpoints.tls[FLOODER], 1) as lanes:
                self._flooders_accounts = await bed.open_accounts(FLOOD_ACCOUNTS, lanes)
        return self._flooders_accounts

"""SubmitTransfers: many transfers a call."""

from __future__ import annotations

from tests.bench.bed import SUBMIT_TRANSFERS, Bed, check_posted
from tests.bench.figures import Latency, Sample
from tests.bench.load import closed_loops
from tests.bench.orders import shares
from tests.bench.sizes import BATCH, BULK_CALLERS


class BulkSubmission:
    """A few callers that each send one call of transfers after the other."""

    unit = "transfers"
    baseline = "raw"

    def __init__(self, bed: Bed, key: str, *, disjoint: bool, read_side: bool) -> None:
        """`disjoint`: each caller on its own accounts, else all on all. `read_side` only names."""
        self.key = key
        self.label = (
            f"SubmitTransfers of {BATCH}, {BULK_CALLERS} callers,"
            f" {'own' if disjoint else 'same'} accounts,"
            f" projector {'on' if read_side else 'off'}"
        )
        self._bed = bed
        self._disjoint = disjoint

    async def warm_up(self) -> None:
        await self._run(4 * BATCH * BULK_CALLERS)

    async def measure(self) -> Sample:
        return await self._run(self._bed.sizes.bulk)

    async def _run(self, transfers: int) -> Sample:
        bed = self._bed
        calls = -(-transfers // (BATCH * BULK_CALLERS))
        accounts = (
            shares(bed.accounts, BULK_CALLERS) if self._disjoint else [bed.accounts] * BULK_CALLERS
        )
        requests = [bed.orders.bulks(own, calls, BATCH) for own in accounts]
        meter = bed.meter()
        meter.start()
        taken = await closed_loops(bed.lanes.call(SUBMIT_TRANSFERS), requests)
        posted = calls * BULK_CALLERS * BATCH
        cpu_us = meter.per(posted)
        for reply in taken.replies:
            check_posted(reply)
        return Sample(posted / taken.elapsed_s, Latency.of(taken.latencies_s), cpu_us)

"""StreamTransfers: transfers as they come, answered as they commit."""

from __future__ import annotations

from tests.bench.bed import Bed
from tests.bench.figures import Latency, Sample
from tests.bench.orders import shares
from tests.bench.sizes import STREAM_MESSAGE, STREAM_WINDOW, STREAMS
from tests.bench.streams import message_of, stream_all


class StreamedSubmission:
    """Several streams, each on accounts of its own, each with a window of unanswered transfers."""

    key = "stream"
    label = (
        f"StreamTransfers, {STREAMS} streams, messages of {STREAM_MESSAGE},"
        f" {STREAM_WINDOW} unanswered each"
    )
    unit = "transfers"
    baseline = "raw"

    def __init__(self, bed: Bed) -> None:
        self._bed = bed

    async def warm_up(self) -> None:
        await self._run(self._bed.sizes.stream // 5)

    async def measure(self) -> Sample:
        return await self._run(self._bed.sizes.stream)

    async def _run(self, transfers: int) -> Sample:
        bed = self._bed
        messages = -(-transfers // (STREAM_MESSAGE * STREAMS))
        streams = [
            [
                message_of([bed.orders.transfer(own) for _ in range(STREAM_MESSAGE)])
                for _ in range(messages)
            ]
            for own in shares(bed.accounts, STREAMS)
        ]
        posted = messages * STREAM_MESSAGE * STREAMS
        meter = bed.meter()
        meter.start()
        taken = await stream_all(bed.lanes.channels, streams, STREAM_WINDOW)
        return Sample(posted / taken.elapsed_s, Latency.of(taken.latencies_s), meter.per(posted))

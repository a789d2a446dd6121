"""SubmitTransferGroup: a payroll, all or nothing."""

from __future__ import annotations

from paycore.v1 import transfer_service_pb2
from tests.bench.bed import Bed
from tests.bench.errors import BenchError
from tests.bench.figures import Latency, Sample
from tests.bench.load import closed_loops
from tests.bench.sizes import PAYROLL

SUBMIT_GROUP = "/paycore.v1.TransferService/SubmitTransferGroup"


class PayrollSubmission:
    """One caller that sends a payroll after the other: one payer, many payees."""

    key = "group"
    label = f"SubmitTransferGroup of {PAYROLL:,}, one payer, 1 caller"
    unit = "transfers"
    baseline = ""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed

    async def warm_up(self) -> None:
        await self._run(10)

    async def measure(self) -> Sample:
        return await self._run(self._bed.sizes.groups)

    async def _run(self, groups: int) -> Sample:
        bed = self._bed
        requests = [bed.orders.payroll(bed.accounts, PAYROLL) for _ in range(groups)]
        meter = bed.meter()
        meter.start()
        taken = await closed_loops(bed.lanes.call(SUBMIT_GROUP), [requests])
        posted = groups * PAYROLL
        cpu_us = meter.per(posted)
        for raw in taken.replies:
            reply = transfer_service_pb2.SubmitTransferGroupResponse.FromString(raw)
            if len(reply.transfers) != PAYROLL:
                raise BenchError("a group was not posted whole")
        return Sample(posted / taken.elapsed_s, Latency.of(taken.latencies_s), cpu_us)

"""Memory of a command process over many transfers."""

from __future__ import annotations

from pathlib import Path

from tests.bench.bed import SUBMIT_TRANSFERS, Bed, check_posted
from tests.bench.errors import BenchError
from tests.bench.figures import Sample
from tests.bench.lanes import Lanes
from tests.bench.load import closed_loops
from tests.bench.orders import shares
from tests.bench.sizes import BATCH, BULK_CALLERS, STREAM_MESSAGE, STREAM_WINDOW
from tests.bench.streams import message_of, stream_all

WARM_UP = 50_000
LEGS = 10
FLAT = 1.10
"""How much larger a process may be at the end than once it is warm."""


class ResidentMemory:
    """Half of the transfers in bulk, half over streams, to one process."""

    key = "memory"
    unit = "transfers"
    baseline = ""

    def __init__(self, bed: Bed, target: str, pid: int) -> None:
        self.label = f"memory of a command process over {bed.sizes.memory:,} transfers"
        self._bed = bed
        self._target = target
        self._pid = pid

    async def warm_up(self) -> None:
        await self._post(WARM_UP)

    async def measure(self) -> Sample:
        """Raises BenchError when memory grew beyond FLAT."""
        sizes_mib = [resident_mib(self._pid)]
        taken_s = 0.0
        each = self._bed.sizes.memory // LEGS
        for _ in range(LEGS):
            taken_s += await self._post(each)
            sizes_mib.append(resident_mib(self._pid))
        told = ", ".join(f"{size:.0f}" for size in sizes_mib)
        if sizes_mib[-1] > FLAT * sizes_mib[0]:
            raise BenchError(f"memory grew: {told} MiB")
        return Sample(each * LEGS / taken_s, note=f"resident memory by tenths: {told} MiB")

    async def _post(self, transfers: int) -> float:
        """Post about so many; the seconds that it took."""
        bed = self._bed
        half = transfers // 2
        calls = -(-half // (BATCH * BULK_CALLERS))
        messages = -(-half // (STREAM_MESSAGE * BULK_CALLERS))
        elapsed_s = 0.0
        async with Lanes(self._target, bed.tls, BULK_CALLERS) as lanes:
            requests = [
                bed.orders.bulks(own, calls, BATCH) for own in shares(bed.accounts, BULK_CALLERS)
            ]
            taken = await closed_loops(lanes.call(SUBMIT_TRANSFERS), requests)
            elapsed_s += taken.elapsed_s
            for reply in taken.replies:
                check_posted(reply)
            streams = [
                [
                    message_of([bed.orders.transfer(own) for _ in range(STREAM_MESSAGE)])
                    for _ in range(messages)
                ]
                for own in shares(bed.accounts, BULK_CALLERS)
            ]
            taken = await stream_all(lanes.channels, streams, STREAM_WINDOW)
            return elapsed_s + taken.elapsed_s


def resident_mib(pid: int) -> float:
    """Resident memory of a process, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise BenchError(f"process {pid} has no memory: it has ended")

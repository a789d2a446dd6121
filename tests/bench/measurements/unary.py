"""One transfer a call, and one echo a call on the same server stack."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.bed import SUBMIT_TRANSFER, Bed
from tests.bench.echo import ECHO, EMPTY, EchoServers
from tests.bench.figures import Sample
from tests.bench.generators import Generator, Job
from tests.bench.orders import Request
from tests.bench.usage import Meter

WARM_UP_CALLS = 500


class UnarySubmission:
    """SubmitTransfer by `callers` at once, between random accounts of `accounts`."""

    unit = "transfers"

    def __init__(
        self, bed: Bed, generator: Generator, key: str, callers: int, calls: int, what: str = ""
    ) -> None:
        self.key = key
        self.label = f"SubmitTransfer, {callers} caller{'s' * (callers > 1)}{what}"
        self.baseline = f"echo-{bed.processes}-{callers}"
        self._bed = bed
        self._generator = generator
        self._callers = callers
        self._calls = calls
        self._accounts: Sequence[int] = bed.accounts

    def on(self, accounts: Sequence[int]) -> UnarySubmission:
        """The same between `accounts` only."""
        self._accounts = accounts
        return self

    async def warm_up(self) -> None:
        await self._run(WARM_UP_CALLS)

    async def measure(self) -> Sample:
        return await self._run(self._calls)

    async def _run(self, calls: int) -> Sample:
        bed = self._bed
        requests: list[Request] = [bed.orders.transfer(self._accounts) for _ in range(calls)]
        job = Job(bed.endpoints.command_target, SUBMIT_TRANSFER, requests, calls, self._callers)
        meter = bed.meter()
        meter.start()
        result = await self._generator.run(job)
        return Sample(result.rate, result.latency, meter.per(calls))


class EchoCalls:
    """The empty call that unary figures are compared with."""

    unit = "calls"
    baseline = ""

    def __init__(
        self, servers: EchoServers, generator: Generator, callers: int, calls: int
    ) -> None:
        count = servers.processes
        self.key = f"echo-{count}-{callers}"
        self.label = (
            f"echo, {count} process{'es' * (count > 1)}, {callers} caller{'s' * (callers > 1)}"
        )
        self._servers = servers
        self._generator = generator
        self._callers = callers
        self._calls = calls

    async def warm_up(self) -> None:
        await self._run(WARM_UP_CALLS)

    async def measure(self) -> Sample:
        return await self._run(self._calls)

    async def _run(self, calls: int) -> Sample:
        job = Job(self._servers.target, ECHO, [EMPTY], calls, self._callers)
        meter = Meter(lambda: {"echo": self._servers.pids})
        meter.start()
        result = await self._generator.run(job)
        return Sample(result.rate, result.latency, meter.per(calls))

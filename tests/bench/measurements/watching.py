"""Watches: how soon a thousand watchers hear of payments, and what each of them costs."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc

from paycore.v1 import history_service_pb2 as history
from tests.bench.bed import SUBMIT_TRANSFERS, Bed, check_posted
from tests.bench.errors import BenchError
from tests.bench.figures import Latency, Sample
from tests.bench.lanes import Lanes
from tests.bench.load import constant_rate
from tests.bench.measurements.memory import resident_mib
from tests.bench.orders import bulk_request
from tests.bench.sizes import WATCH_RATE_PER_S, WATCHERS

WATCH_TRANSFERS = "/paycore.v1.HistoryService/WatchTransfers"
CONNECTIONS = 16
MESSAGE = 50
"""Transfers in one call."""

MOST_IN_FLIGHT = 40
BEGUN_WITHIN_S = 60.0
HEARD_WITHIN_S = 60.0


class Watches:
    """Each watcher has an account of its own; payments go between these at a constant rate, so each
    is heard of twice.

    Latency is from a transfer's creation, just before its commit, to its arrival at the watcher.
    """

    key = "watch"
    label = f"{WATCHERS:,} watchers, {WATCH_RATE_PER_S:,} transfers/s between their accounts"
    unit = "events"
    baseline = ""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed

    async def warm_up(self) -> None:
        await self._run(1.0)

    async def measure(self) -> Sample:
        return await self._run(self._bed.sizes.watch_s)

    async def _run(self, seconds: float) -> Sample:
        bed = self._bed
        accounts = bed.accounts[:WATCHERS]
        (pid, *_) = bed.stack.part_pids("query")
        before_mib = resident_mib(pid)
        begun = asyncio.Semaphore(0)
        heard_s: list[float] = []
        meter = bed.meter()
        lanes = Lanes(bed.endpoints.query_target, bed.tls, CONNECTIONS, service="query")
        async with lanes:
            tasks = [
                asyncio.create_task(
                    _watch(lanes.channels[number % CONNECTIONS], account, begun, heard_s)
                )
                for number, account in enumerate(accounts)
            ]
            try:
                async with asyncio.timeout(BEGUN_WITHIN_S):
                    for _ in tasks:
                        await begun.acquire()
                each_kib = (resident_mib(pid) - before_mib) * 1024 / len(accounts)
                calls = int(seconds * WATCH_RATE_PER_S / MESSAGE)
                requests = [
                    bulk_request([bed.orders.transfer(accounts) for _ in range(MESSAGE)])
                    for _ in range(calls)
                ]
                meter.start()
                began_s = time.perf_counter()
                taken = await constant_rate(
                    bed.lanes.call(SUBMIT_TRANSFERS),
                    requests,
                    WATCH_RATE_PER_S / MESSAGE,
                    MOST_IN_FLIGHT,
                )
                for raw in taken.replies:
                    check_posted(raw)
                events = 2 * calls * MESSAGE
                async with asyncio.timeout(HEARD_WITHIN_S):
                    while len(heard_s) < events:
                        await _still_watching(tasks)
                elapsed_s = time.perf_counter() - began_s
            except TimeoutError as error:
                raise BenchError(f"{len(heard_s)} events were heard of in time") from error
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        return Sample(
            len(heard_s) / elapsed_s,
            Latency.of(heard_s),
            meter.per(events),
            f"{each_kib:.0f} KiB a watcher in the query process",
        )


async def _still_watching(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.sleep(0.01)
    for task in tasks:
        if task.done():
            raise BenchError(f"a watch ended: {task.exception()}")


async def _watch(
    channel: Any, account: int, begun: asyncio.Semaphore, heard_s: list[float]
) -> None:
    request = history.WatchTransfersRequest(account_id=account)
    call = channel.unary_stream(WATCH_TRANSFERS)(request.SerializeToString())
    await call.read()
    # The second is that of having joined the tail.
    await call.read()
    begun.release()
    version = 0
    try:
        while (raw := await call.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]  # stubs lack it
            now_us = time.time_ns() // 1_000
            response = history.WatchTransfersResponse.FromString(raw)
            if not response.HasField("transfer"):
                continue
            transfer = response.transfer
            pays = transfer.debit_account_id == account
            entry = transfer.debit_version if pays else transfer.credit_version
            if version and entry != version + 1:
                raise BenchError(f"account {account}: entry {entry} came after {version}")
            version = entry
            heard_s.append((now_us - transfer.create_time.ToMicroseconds()) / 1e6)
    finally:
        call.cancel()

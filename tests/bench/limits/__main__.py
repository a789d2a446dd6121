"""`python -m tests.bench.limits`: processor time of the limits of one call, alone and together."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from rich.console import Console

from deploy.local import LocalStack
from paycore.domain.limits import RATES, Limit, RateLimit
from paycore.runtime.breaker import STATE, BreakerState
from paycore.runtime.clock import SystemClock
from paycore.runtime.gate import Method
from paycore.runtime.limits.calls import CallLimits
from paycore.runtime.limits.shared import SharedLimiter
from paycore.runtime.limits.table import LimitTable, everywhere
from paycore.v1 import actor_pb2, transfer_service_pb2

TOGETHER = (1, 8, 32, 128)
"""Calls that wait at the same time."""

AMPLE = RateLimit(1_000, 1_000_000)
"""Never exceeded, and so small a rate that of it ten units are taken ahead at most."""

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
console = Console(highlight=False)


@app.command()
def bench(
    calls: Annotated[int, typer.Option(min=1_000, help="Calls in each row.")] = 20_000,
) -> None:
    """Measure what deciding costs this process, with a real Redis on the same machine."""
    with tempfile.TemporaryDirectory(prefix="paycore-limits-bench-") as folder:
        # The server runs as another user when this runs as root, and must reach its folder.
        Path(folder).chmod(0o755)
        stack = LocalStack(Path(folder) / "state", parts={"redis"}, schema=False)
        endpoints = stack.start()
        try:
            uvloop.run(_measure(endpoints.redis_url, calls))
        finally:
            stack.stop()


async def _measure(url: str, calls: int) -> None:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    console.print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {len(os.sched_getaffinity(0))} cores,"
        f" {memory_gib:.0f} GiB, load {os.getloadavg()[0]:.1f}; microseconds of Python a call"
    )
    limiter = SharedLimiter(url, SystemClock())
    table = LimitTable().with_file(
        everywhere({**dict.fromkeys(RATES, AMPLE), Limit.VELOCITY: None})
    )
    limits = CallLimits(lambda: table, limiter, bytes(32), lambda _: True)
    service = transfer_service_pb2.DESCRIPTOR.services_by_name["TransferService"]
    request_class = transfer_service_pb2.SubmitTransferRequest
    method = Method(service.full_name, "SubmitTransfer", request_class, lambda _: 1)
    bare = request_class()
    acted = [
        request_class(
            actor=actor_pb2.Actor(
                user_id=f"user-{number}",
                device_id=f"device-{number}",
                ip_address=f"192.0.2.{number % 256}",
            )
        )
        for number in range(1_000)
    ]
    await limiter.start()
    try:
        while STATE.labels("redis")._value.get() == BreakerState.OPEN:
            await asyncio.sleep(0.01)
        for name, requests in (("client", [bare]), ("client, address, user, device", acted)):
            for together in TOGETHER:
                cost_us = await _cost_us(limits, method, requests, calls, together)
                console.print(f"{name:<32}{together:>4} together {cost_us:8.1f}")
    finally:
        await limiter.stop()


async def _cost_us(
    limits: CallLimits, method: Method, requests: list[Any], calls: int, together: int
) -> float:
    async def caller(first: int) -> None:
        for number in range(calls // together):
            await limits.admit("app", method, requests[(first + number) % len(requests)])

    began_s = time.process_time()
    await asyncio.gather(*(caller(place * 31) for place in range(together)))
    return (time.process_time() - began_s) / calls * 1e6


if __name__ == "__main__":
    app()

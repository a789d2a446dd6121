"""Load from this process: closed loops of callers, and a constant rate.

A constant rate does not wait for answers: what is late counts from the time it was meant to be
sent, so that a stall of the server shows in every call that it delayed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.bench.errors import BenchError
from tests.bench.lanes import RawCall


@dataclass(slots=True)
class Taken:
    """What a load saw."""

    elapsed_s: float = 0.0
    """From the first call to the last answer."""
    latencies_s: list[float] = field(default_factory=list)
    replies: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def _together() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group that raises the first failure itself."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def closed_loops(call: RawCall, requests: Sequence[Sequence[bytes]]) -> Taken:
    """One caller for each sequence of requests, sending the next when it has its answer."""
    taken = Taken()

    async def caller(own: Sequence[bytes]) -> None:
        for request in own:
            began = time.perf_counter()
            reply = await call(request)
            taken.latencies_s.append(time.perf_counter() - began)
            taken.replies.append(reply)

    began = time.perf_counter()
    async with _together() as callers:
        for own in requests:
            callers.create_task(caller(own))
    taken.elapsed_s = time.perf_counter() - began
    return taken


async def shared_loops(call: RawCall, requests: Iterable[bytes], callers: int) -> Taken:
    """`callers` closed loops over one supply of requests."""
    taken = Taken()
    supply: Iterator[bytes] = iter(requests)

    async def caller() -> None:
        for request in supply:
            began = time.perf_counter()
            await call(request)
            taken.latencies_s.append(time.perf_counter() - began)

    began = time.perf_counter()
    async with _together() as group:
        for _ in range(callers):
            group.create_task(caller())
    taken.elapsed_s = time.perf_counter() - began
    return taken


async def constant_rate(
    call: RawCall, requests: Sequence[bytes], calls_per_s: float, most_in_flight: int
) -> Taken:
    """Send `requests` at a constant rate.

    Raises BenchError when more than `most_in_flight` calls are under way: the server cannot keep
    up, and a rate that is not kept measures nothing.
    """
    taken = Taken()
    in_flight: set[asyncio.Task[None]] = set()

    async def send(request: bytes, intended_s: float) -> None:
        reply = await call(request)
        taken.latencies_s.append(time.perf_counter() - intended_s)
        taken.replies.append(reply)

    began = time.perf_counter()
    async with _together() as calls:
        for number, request in enumerate(requests):
            intended_s = began + number / calls_per_s
            await asyncio.sleep(max(0.0, intended_s - time.perf_counter()))
            if len(in_flight) >= most_in_flight:
                raise BenchError(
                    f"{most_in_flight} calls were under way: {calls_per_s:g} calls/s is too much"
                )
            task = calls.create_task(send(request, intended_s))
            in_flight.add(task)
            task.add_done_callback(in_flight.discard)
    taken.elapsed_s = time.perf_counter() - began
    return taken

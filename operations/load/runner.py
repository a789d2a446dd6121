"""Workers that send transfers for a time, as fast as they can or at a constant rate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from operations.load.measure import OK, Measurement, outcome_name
from paycore.client import PaycoreClient, RefusedItem, TransferOrder
from paycore.client.errors import ClientError

MAX_LATENCIES = 2_000_000
"""Bound on remembered latencies: a longer run measures its first requests only."""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """`workers` send requests of `batch` transfers (1: one by one) for `seconds`.

    With `rate_per_s` (transfers per second) requests are due at constant intervals and latency
    counts from when they were due, so that a stall is not hidden by what it holds up. Without it
    each worker sends its next request when it has the answer to its last.
    """

    seconds: float
    workers: int
    batch: int = 1
    rate_per_s: float | None = None


async def run_load(
    client: PaycoreClient, orders: Iterator[TransferOrder], plan: LoadPlan, measured: Measurement
) -> float:
    """Run `plan`, adding what is seen to `measured` as it goes; returns how long it took, in s."""
    began_s = time.monotonic()
    due = _due_times(plan, began_s)

    async def work() -> None:
        for due_s in due:
            if due_s is not None:
                await asyncio.sleep(due_s - time.monotonic())
            sent_s = time.monotonic() if due_s is None else due_s
            await _send(client, list(islice(orders, plan.batch)), measured)
            if len(measured.latencies_s) < MAX_LATENCIES:
                measured.latencies_s.append(time.monotonic() - sent_s)

    async with asyncio.TaskGroup() as group:
        for _ in range(plan.workers):
            group.create_task(work())
    return time.monotonic() - began_s


def _due_times(plan: LoadPlan, began_s: float) -> Iterator[float | None]:
    """When each request is due, shared by all workers; None: at once."""
    end_s = began_s + plan.seconds
    if plan.rate_per_s is None:
        while time.monotonic() < end_s:
            yield None
        return
    interval_s = plan.batch / plan.rate_per_s
    due_s = began_s
    while due_s < end_s:
        yield due_s
        due_s += interval_s


async def _send(client: PaycoreClient, orders: list[TransferOrder], measured: Measurement) -> None:
    try:
        if len(orders) == 1:
            await client.submit_transfer(orders[0])
            measured.outcomes[OK] += 1
            return
        receipt = await client.submit_transfers(orders)
    except ClientError as error:
        measured.outcomes[outcome_name(error)] += len(orders)
        return
    for outcome in receipt.outcomes:
        name = outcome_name(outcome.error) if isinstance(outcome, RefusedItem) else OK
        measured.outcomes[name] += 1

"""How far the index is behind, and how quickly it catches up."""

from __future__ import annotations

import asyncio
import time
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from operations.deployment import find_deployment
from operations.projection import open_desk
from paycore.domain.position import Position
from tests.bench.bed import SUBMIT_TRANSFERS, Bed, check_posted
from tests.bench.errors import BenchError
from tests.bench.figures import Latency, Sample, percentile
from tests.bench.index import POLL_S, Watch
from tests.bench.load import constant_rate
from tests.bench.orders import shares
from tests.bench.sizes import BATCH, BULK_CALLERS, LAG_RATE_PER_S

BEGUN_WITHIN_S = 120.0
MOST_IN_FLIGHT = 40
"""Calls: four seconds' worth. A server that is further behind does not keep the rate."""

LONE_PAYMENTS = 200
LONE_PAUSE_S = 0.15

SETTLE_S = 2.0
"""Left out of the figures at the beginning of each repetition, in seconds."""


class ProjectionLag:
    """Transfers at a constant rate: from each one's creation until it can be searched.

    The end is the refresh after which the projector's positions document covers the transfer, which
    is also what a query with `min_position` waits for.
    """

    key = "lag"
    label = f"projection lag at {LAG_RATE_PER_S:,} transfers/s, by positions document"
    unit = "transfers"
    baseline = ""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed

    async def warm_up(self) -> None:
        await wait_until_caught_up(self._bed)

    async def measure(self) -> Sample:
        bed = self._bed
        await wait_until_caught_up(bed)
        seconds = bed.sizes.lag_s + SETTLE_S
        calls = int(seconds * LAG_RATE_PER_S / BATCH)
        requests = self._requests(calls)
        watch = Watch(bed.index)
        following = asyncio.create_task(watch.follow())
        meter = bed.meter()
        meter.start()
        try:
            taken = await constant_rate(
                bed.lanes.call(SUBMIT_TRANSFERS), requests, LAG_RATE_PER_S / BATCH, MOST_IN_FLIGHT
            )
            cpu_us = meter.per(calls * BATCH)
            last = max(Position.decode(check_posted(raw).position) for raw in taken.replies)
            await bed.index.wait_for(last)
            # One more reading of the watch: it may be a poll behind.
            await asyncio.sleep(10 * POLL_S)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        calls_s = sorted(taken.latencies_s)
        return Sample(
            calls * BATCH / taken.elapsed_s,
            Latency.of(_lags_s(taken.replies, watch)),
            cpu_us,
            f"calls from their intended time: p50 {percentile(calls_s, 50) * 1e3:.0f} ms,"
            f" p99 {percentile(calls_s, 99) * 1e3:.0f} ms",
        )

    def _requests(self, calls: int) -> list[bytes]:
        bed = self._bed
        own = shares(bed.accounts, BULK_CALLERS)
        return [bed.orders.bulks(own[call % len(own)], 1, BATCH)[0] for call in range(calls)]


def _lags_s(replies: list[bytes], watch: Watch) -> list[float]:
    """Seconds from creation to searchable of every transfer after the settling."""
    outcomes = [outcome for raw in replies for outcome in check_posted(raw).outcomes]
    created_us = [outcome.transfer.create_time.ToMicroseconds() for outcome in outcomes]
    counted_from_us = min(created_us) + SETTLE_S * 1e6
    searchable_us: dict[str, int] = {}
    lags_s: list[float] = []
    for outcome, at_us in zip(outcomes, created_us, strict=True):
        if at_us < counted_from_us:
            continue
        token = outcome.position
        if token not in searchable_us:
            searchable_us[token] = watch.searchable_us(Position.decode(token))
        lags_s.append((searchable_us[token] - at_us) / 1e6)
    return lags_s


class LonePayment:
    """One payment at a time with pauses between: from its creation until it can be searched."""

    key = "lag-lone"
    label = "projection lag of a lone payment, by positions document"
    unit = ""
    baseline = ""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed

    async def warm_up(self) -> None:
        await wait_until_caught_up(self._bed)

    async def measure(self) -> Sample:
        bed = self._bed
        await wait_until_caught_up(bed)
        lags_s: list[float] = []
        for number in range(LONE_PAYMENTS):
            # Never in step with the projector's polls.
            await asyncio.sleep(LONE_PAUSE_S + number % 10 * 0.007)
            request = bed.orders.bulks(bed.accounts, 1, 1)[0]
            taken = await bed.submit([[request]])
            outcome = check_posted(taken.replies[0]).outcomes[0]
            found = await bed.index.wait_for(Position.decode(outcome.position))
            created_us = outcome.transfer.create_time.ToMicroseconds()
            lags_s.append((found.since_us - created_us) / 1e6)
        return Sample(latency=Latency.of(lags_s), note=f"{LONE_PAYMENTS} payments")


class CatchingUp:
    """Documents per second when the projector comes back to a journal that went on without it."""

    key = "catching-up"
    label = "catching up after the projector was stopped"
    unit = "transfers"
    baseline = ""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed

    async def warm_up(self) -> None:
        await wait_until_caught_up(self._bed)

    async def measure(self) -> Sample:
        bed = self._bed
        await asyncio.to_thread(bed.stack.stop_part, "projector")
        try:
            await bed.post(bed.sizes.catching_up)
            last = await last_position(bed)
        finally:
            began_s = time.monotonic()
            await asyncio.to_thread(bed.stack.start_part, "projector")
        meter = bed.meter()
        meter.start()
        first = await _first_documents(bed)
        found = await bed.index.wait_for(last)
        total = await asyncio.to_thread(_documents, bed)
        # Those indexed up to the first look are not in the time that is divided by.
        elapsed_s = found.since_us / 1e6 - first[0]
        counted = total - first[1]
        if counted <= 0 or elapsed_s <= 0:
            raise BenchError("it caught up before it could be timed: ask for more transfers")
        return Sample(
            counted / elapsed_s,
            None,
            meter.per(counted),
            f"{total:,} documents within {time.monotonic() - began_s:.1f} s of the process's start",
        )


class Rebuilding:
    """A fresh index from the ledger's tables while the old one serves: documents per second."""

    key = "rebuild"
    label = "rebuilding the index from the ledger"
    unit = "documents"
    baseline = ""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed

    async def warm_up(self) -> None:
        await wait_until_caught_up(self._bed)

    async def measure(self) -> Sample:
        bed = self._bed
        await wait_until_caught_up(bed)
        filled: list[tuple[float, int]] = []
        async with open_desk(find_deployment(bed.endpoints.state)) as desk:
            began_s = time.monotonic()

            def note(done: int, _: int) -> None:
                filled.append((time.monotonic() - began_s, done))

            request = await desk.outcome(await desk.ask("REBUILD", "a benchmark"), 3_600, note)
        if request.outcome is None or "serves" not in request.outcome or not filled:
            raise BenchError(f"the index was not rebuilt: {request.outcome}")
        # Until the last document, not with the check of all that follows.
        documents = filled[-1][1]
        elapsed_s = next(at_s for at_s, done in filled if done == documents)
        whole_s = time.monotonic() - began_s
        return Sample(
            documents / elapsed_s, note=f"{documents:,} documents, checked in {whole_s:.1f} s"
        )


async def _first_documents(bed: Bed) -> tuple[float, int]:
    """When documents were first seen to be indexed (wall clock, in seconds), and how many were."""
    give_up_s = time.monotonic() + BEGUN_WITHIN_S
    while time.monotonic() < give_up_s:
        count = await asyncio.to_thread(_documents, bed)
        if count > 0:
            return time.time(), count
        await asyncio.sleep(POLL_S)
    raise BenchError("the projector indexed nothing")


def _documents(bed: Bed) -> int:
    """Transfers that this run of the projector has indexed, by its metrics."""
    (url,) = bed.endpoints.metrics_urls["projector"]
    with urllib.request.urlopen(url, timeout=5) as reply:
        text = reply.read().decode()
    return int(
        sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "paycore_projector_documents_total"
            and sample.labels["kind"] == "transfers"
        )
    )


async def last_position(bed: Bed) -> Position:
    """The position of a transfer posted now, which comes after all before it."""
    request = bed.orders.bulks(bed.accounts, 1, 1)[0]
    taken = await bed.submit([[request]])
    return Position.decode(check_posted(taken.replies[0]).position)


async def wait_until_caught_up(bed: Bed) -> None:
    """Wait until all that is in the ledger can be searched. Raises BenchError."""
    await bed.index.wait_for(await last_position(bed))

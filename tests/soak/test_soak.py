"""A day's mix of calls at a constant rate: nothing grows, nothing is lost, all is as told."""

from __future__ import annotations

import asyncio
import random

import pytest

from deploy.local import LocalStack
from tests.support.callers import Callers
from tests.support.seeds import rounds
from tests.support.soaking.judging import SHORT, STRICT, judge
from tests.support.soaking.mix import WEIGHTS
from tests.support.soaking.report import SoakReport
from tests.support.soaking.soak import Run, soak, verify

SECONDS = rounds("PAYCORE_SOAK_SECONDS", 8)
RATE_PER_S = rounds("PAYCORE_SOAK_RATE", 25)
"""Calls a second: moderate, so that two cores have time to spare."""

LARGE = SECONDS >= 120
"""Whether there is time for caches and pools to be filled."""

SAVED = bool(rounds("PAYCORE_SOAK_SAVE", 0))
"""Whether the report goes into docs/proof/soak.md, and the chart beside it."""

TROUBLED = 0.001 if LARGE else 0.01
"""Share of calls that may go without an answer: on a machine with other work some are late."""

NEVER = ("INTERNAL", "gRPC: INTERNAL", "gRPC: UNKNOWN", "gRPC: DATA_LOSS", "NOT_SENT")


@pytest.mark.timeout(900 + 2 * SECONDS)
async def test_nothing_grows_and_all_is_as_it_was_told(
    services: LocalStack, callers: Callers, rng: random.Random
) -> None:
    run = await soak(
        services,
        callers,
        rng,
        rate_per_s=RATE_PER_S,
        seconds=SECONDS,
        sample_every_s=0.25 if SECONDS < 60 else 1.0 if SECONDS < 600 else 5.0,
    )
    growth = judge(run.samples, STRICT if LARGE else SHORT)
    report = SoakReport(run, growth)
    try:
        await verify(services, run)
    finally:
        # What an hour showed is told whatever came of it.
        report.show()

    assert len(run.measured.calls) == RATE_PER_S * SECONDS
    assert set(run.measured.kinds) >= (set(WEIGHTS) if LARGE else {"single", "balance"})
    assert {reason for _, reason in run.measured.troubles} & set(NEVER) == set()
    assert run.measured.troubles.total() <= TROUBLED * len(run.measured.calls)
    assert run.watched.heard
    assert set(run.samples.restarts.values()) == {0}
    assert growth
    assert [one.line for one in growth if not one.held] == []
    if SAVED:
        await report.save(services.endpoints)


async def test_a_process_that_is_killed_midway_holds_nothing_up(
    services: LocalStack, callers: Callers, rng: random.Random
) -> None:
    async def kill() -> None:
        await asyncio.sleep(1)
        for part in ("query", "command"):
            await asyncio.to_thread(services.crash_part, part)
        for part in ("query", "command"):
            await asyncio.to_thread(services.wait_part, part, 120.0)

    run: Run = await soak(
        services, callers, rng, rate_per_s=20, seconds=5, sample_every_s=0.5, meanwhile=kill
    )
    await verify(services, run)
    assert run.samples.restarts["query"] == run.samples.restarts["command"] == 1
    assert len(run.measured.calls) == 5 * 20
    answered_last = max(one.due_s for one in run.measured.calls if not one.trouble)
    assert {reason for _, reason in run.measured.troubles} & set(NEVER) == set()
    # What was killed is away at times, and back before the end or soon after it.
    assert run.measured.troubles.total() > 0
    assert answered_last > 1

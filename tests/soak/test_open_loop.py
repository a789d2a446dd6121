"""The highest constant rate of single payments of which 99% are answered in time."""

from __future__ import annotations

import random

import pytest

from deploy.local import LocalStack
from tests.support.callers import Callers
from tests.support.ledger_checks import whole_ledger
from tests.support.seeds import rounds
from tests.support.soaking.load_report import OpenLoopReport
from tests.support.soaking.open_loop import P99_WITHIN_S, highest_rate
from tests.support.soaking.search import CONFIRMED
from tests.support.soaking.told import told_breaches

STEP_S = rounds("PAYCORE_OPEN_LOOP_STEP_S", 1)
"""How long each rate is held and judged, in seconds."""

FIRST_PER_S = rounds("PAYCORE_OPEN_LOOP_FIRST", 10)
MOST_PER_S = rounds("PAYCORE_OPEN_LOOP_MOST", 20)
"""A short round is content with what any machine bears."""

LARGE = STEP_S >= 5
SAVED = bool(rounds("PAYCORE_OPEN_LOOP_SAVE", 0))
"""Whether the report goes into docs/proof/load.md."""


@pytest.mark.timeout(300 + 60 * STEP_S)
async def test_the_highest_rate_is_found_and_confirmed(
    services: LocalStack, callers: Callers, rng: random.Random
) -> None:
    search, told, run = await highest_rate(
        services.endpoints,
        callers,
        rng,
        step_s=STEP_S,
        first_per_s=FIRST_PER_S,
        most_per_s=MOST_PER_S,
    )
    report = OpenLoopReport(search, STEP_S)
    report.show()
    audit = services.endpoints.postgres_dsn["paycore_audit"]
    assert await told_breaches(told, run, audit) == []
    await whole_ledger(audit)
    assert told.posted
    for step in search.steps:
        assert step.borne is (not step.troubles and step.p99_s < P99_WITHIN_S)
    if LARGE:
        assert search.found_per_s is not None
    if search.found_per_s is not None:
        last = search.steps[-CONFIRMED:]
        assert [one.rate_per_s for one in last] == [search.found_per_s] * CONFIRMED
        assert all(one.borne and one.confirming for one in last)
    if SAVED:
        await report.save(services.endpoints)

"""Ten times the usual load: what is refused is refused in order, and nothing else is changed."""

from __future__ import annotations

import random

import pytest

from deploy.local import LocalStack
from tests.support.callers import Callers
from tests.support.index_checks import assert_index_catches_up
from tests.support.ledger_checks import whole_ledger
from tests.support.seeds import rounds
from tests.support.soaking.load_report import OverloadReport, peaks
from tests.support.soaking.overload import Overload, Phases, overload
from tests.support.soaking.pace import NOT_SENT
from tests.support.soaking.told import Told, told_breaches

SECONDS = rounds("PAYCORE_OVERLOAD_SECONDS", 3)
"""Of the flood."""

RATE_PER_S = rounds("PAYCORE_OVERLOAD_RATE", 40)
"""Calls a second of the usual load; each fifth has twenty payments."""

LARGE = SECONDS >= 30
SAVED = bool(rounds("PAYCORE_OVERLOAD_SAVE", 0))
"""Whether the report goes into docs/proof/load.md."""

CLEAN = {"OVERLOADED", "RATE_LIMITED", "DEADLINE_EXCEEDED", "gRPC: DEADLINE_EXCEEDED"}
"""Refusals that an overload may bring. gRPC's own deadline is that of the caller's core."""

MORE_MEMORY = 400 * 2**20
"""Bytes that a process may have at most beyond what it had before: what its bounded queues hold."""

UNSENT = 0.2
"""Share of the flood that may be left out because its own process cannot send as much."""

BACK_WITHIN_S = 10.0
"""How long after the flood latency is as usual, at most."""

AS_USUAL_S = 0.1 if LARGE else 1.0
"""Latency that is as usual in any case: in a short round the machine has other work."""


@pytest.mark.timeout(600 + 10 * SECONDS)
async def test_ten_times_the_usual_load_is_refused_in_order(
    services: LocalStack, callers: Callers, rng: random.Random
) -> None:
    phases = Phases(10, SECONDS, 30) if LARGE else Phases(2, SECONDS, 10)
    seen: Overload = await overload(services, callers, rng, rate_per_s=RATE_PER_S, phases=phases)
    report = OverloadReport(seen, AS_USUAL_S, MORE_MEMORY)
    report.show()

    reasons = {reason for heard in seen.heard for reason in heard.reasons}
    assert reasons <= CLEAN
    assert reasons, "nothing was refused: it was no overload"
    assert {reason for _, reason in seen.flood.troubles} <= {*CLEAN, NOT_SENT}
    assert {reason for _, reason in seen.usual.troubles} <= CLEAN
    unsent = sum(times for (_, why), times in seen.flood.troubles.items() if why == NOT_SENT)
    assert unsent <= UNSENT * len(seen.flood.calls), "more than this machine can send"
    assert [heard.without_when for heard in seen.heard if heard.without_when] == []
    audit = services.endpoints.postgres_dsn["paycore_audit"]
    told = Told()
    for heard in seen.heard:
        told.posted |= heard.told.posted
        told.declined |= heard.told.declined
        told.refused |= heard.told.refused
        told.unheard |= heard.told.unheard
    assert await told_breaches(told, seen.run, audit) == []
    assert told.posted
    await whole_ledger(audit)
    await assert_index_catches_up(services.endpoints, 300.0)
    assert set(seen.samples.restarts.values()) == {0}
    for process, (before, most) in peaks(seen).items():
        assert most <= before + MORE_MEMORY, process
    back_after_s = seen.back_after_s(AS_USUAL_S)
    assert back_after_s is not None
    assert back_after_s <= BACK_WITHIN_S
    if SAVED:
        await report.save(services.endpoints)

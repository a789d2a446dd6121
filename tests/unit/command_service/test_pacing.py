"""When a batch starts."""

from __future__ import annotations

from math import inf

import pytest

from command_service.posting.pacing import AT_ONCE, EngineLimits, Pacing

LIMITS = EngineLimits(
    in_flight=2, overlap=100, patience_s=0.02, gather=2.0, gather_s=0.02, batch=500
)


@pytest.fixture
def pacing() -> Pacing:
    return Pacing(LIMITS)


def test_the_first_payment_starts_at_once(pacing: Pacing) -> None:
    assert pacing.start_at_s(0, 1) == AT_ONCE


def test_a_lone_caller_never_waits(pacing: Pacing) -> None:
    pacing.started(10.0)
    pacing.finished(10.003, 0.003, 1)

    assert pacing.start_at_s(0, 1) == AT_ONCE


def test_a_crowd_is_waited_for(pacing: Pacing) -> None:
    pacing.started(10.0)
    pacing.finished(10.004, 0.004, 30)

    assert pacing.start_at_s(0, 29) == pytest.approx(10.004 + 2 * 0.004)
    assert pacing.start_at_s(0, 30) == AT_ONCE


def test_no_crowd_is_waited_for_longer_than_the_bound(pacing: Pacing) -> None:
    pacing.started(10.0)
    pacing.finished(15.0, 5.0, 30)

    assert pacing.start_at_s(0, 1) == pytest.approx(15.0 + 0.02)


def test_many_do_not_wait_for_a_larger_crowd(pacing: Pacing) -> None:
    pacing.finished(10.0, 0.004, 500)

    assert pacing.start_at_s(0, 100) == AT_ONCE


def test_beside_a_batch_in_flight_many_start_at_once_and_few_when_it_is_late(
    pacing: Pacing,
) -> None:
    pacing.started(10.0)

    assert pacing.start_at_s(1, 100) == AT_ONCE
    assert pacing.start_at_s(1, 99) == pytest.approx(10.02)


def test_no_more_batches_at_once_than_allowed(pacing: Pacing) -> None:
    assert pacing.start_at_s(2, 1_000) == inf


def test_in_a_hurry_nobody_is_waited_for(pacing: Pacing) -> None:
    pacing.finished(10.0, 0.004, 30)
    pacing.hurry()

    assert pacing.start_at_s(0, 1) == AT_ONCE

    pacing.finished(11.0, 0.004, 30)

    assert pacing.start_at_s(0, 1) <= 11.0

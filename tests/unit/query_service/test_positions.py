"""Whether the index may answer goes by how far behind the ledger it is known to be."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.position import Position
from query_service import metrics
from query_service.positions import IndexPosition, IndexStaleError, PositionTracker
from tests.support.clocks import ManualClock

TOLERANCE_S = 10.0
PLACE = Position(1, 9, 9)


class Told:
    """Says what the test has it say."""

    def __init__(self) -> None:
        self.position: IndexPosition | None = None
        self.away = False

    async def read_position(self, deadline_s: float) -> IndexPosition | None:
        if self.away:
            raise PaycoreError(Reason.INDEX_UNAVAILABLE, "away")
        return self.position


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def tracker(clock: ManualClock, told: Told) -> PositionTracker:
    return PositionTracker(told, clock, TOLERANCE_S)


def refusal(check: Callable[[], None]) -> PaycoreError:
    with pytest.raises(PaycoreError) as caught:
        check()
    assert caught.value.retry_after_ms
    return caught.value


async def test_an_index_that_was_not_asked_or_never_told_is_not_taken_for_current(
    tracker: PositionTracker, told: Told
) -> None:
    assert not tracker.asked.is_set()
    assert refusal(tracker.check_current).reason is Reason.INDEX_BEHIND
    for position in (None, IndexPosition(PLACE, None)):
        told.position = position
        assert await tracker.poll()
        assert tracker.asked.is_set()
        error = refusal(tracker.check_current)
        assert isinstance(error, IndexStaleError)
        assert error.lag_us is None


async def test_an_index_is_behind_once_it_was_told_of_too_long_ago(
    tracker: PositionTracker, told: Told, clock: ManualClock
) -> None:
    told.position = IndexPosition(PLACE, clock.now_us())
    await tracker.poll()
    tracker.check_current()
    clock.at_s += TOLERANCE_S
    tracker.check_current()
    clock.at_s += 0.001
    error = refusal(tracker.check_current)
    assert isinstance(error, IndexStaleError)
    assert error.lag_us == 10_001_000
    assert error.metadata == {"position": PLACE.encode()}
    tracker.check_current(TOLERANCE_S + 1)
    # While the journal rests its time goes on, and the position stays.
    told.position = IndexPosition(PLACE, clock.now_us())
    await tracker.poll()
    tracker.check_current()


async def test_an_index_that_does_not_answer_is_away_and_not_behind(
    tracker: PositionTracker, told: Told, clock: ManualClock
) -> None:
    told.position = IndexPosition(PLACE, clock.now_us())
    await tracker.poll()
    told.away = True
    assert not await tracker.poll()
    tracker.check_current()
    clock.at_s += TOLERANCE_S + 1
    assert refusal(tracker.check_current).reason is Reason.INDEX_UNAVAILABLE


async def test_what_was_before_its_time_an_index_has_however_old_it_is(
    tracker: PositionTracker, told: Told, clock: ManualClock
) -> None:
    seen_us = clock.now_us()
    told.position = IndexPosition(PLACE, seen_us)
    await tracker.poll()
    tracker.check_covers(seen_us + 1)
    clock.at_s += TOLERANCE_S + 1
    tracker.check_covers(seen_us)
    assert refusal(lambda: tracker.check_covers(seen_us + 1)).reason is Reason.INDEX_BEHIND
    told.position = None
    await tracker.poll()
    assert refusal(lambda: tracker.check_covers(1)).reason is Reason.INDEX_BEHIND


async def test_a_lag_that_is_not_known_is_a_large_one_to_alerts(
    tracker: PositionTracker, told: Told, clock: ManualClock
) -> None:
    def shown() -> float | None:
        return REGISTRY.get_sample_value("paycore_query_index_lag_seconds")

    metrics.watch_index(tracker)
    assert shown() == math.inf
    told.position = IndexPosition(PLACE, clock.now_us())
    await tracker.poll()
    clock.at_s += 3
    assert shown() == 3

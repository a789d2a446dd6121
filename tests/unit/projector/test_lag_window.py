"""How late the sink was lately: percentiles that are never too low, in bounded memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from projector.lag_window import SLOT_S, WINDOW_S, LagWindow
from tests.support.clocks import ManualClock

LAGS = st.lists(st.integers(0, 10**11), min_size=1, max_size=300)


def nearest_rank(lags: list[int], percent: int) -> int:
    return sorted(lags)[-(-len(lags) * percent // 100) - 1]


@given(LAGS)
def test_percentiles_are_at_most_a_tenth_too_high(lags: list[int]) -> None:
    window = LagWindow(ManualClock())
    for lag in lags:
        window.observe(lag)
    found = window.summary()
    assert found is not None
    assert (found.transactions, found.max_us) == (len(lags), max(lags))
    for percent, told in ((50, found.p50_us), (95, found.p95_us), (99, found.p99_us)):
        exact = nearest_rank(lags, percent)
        assert exact <= told <= exact + exact // 10


def test_what_is_older_than_the_window_is_forgotten() -> None:
    clock = ManualClock()
    window = LagWindow(clock)
    window.observe(9_000)
    clock.at_s += WINDOW_S - SLOT_S
    window.observe(1_000)
    found = window.summary()
    assert found is not None
    assert (found.transactions, found.max_us) == (2, 9_000)
    clock.at_s += SLOT_S
    found = window.summary()
    assert found is not None
    assert (found.transactions, found.max_us) == (1, 1_000)
    clock.at_s += WINDOW_S
    assert window.summary() is None


def test_a_flood_takes_no_more_memory_than_its_times_are_different() -> None:
    clock = ManualClock()
    window = LagWindow(clock)
    for second in range(2 * WINDOW_S):
        clock.at_s += 1
        for lag in range(200):
            window.observe(second * 1_000_000 + lag)
    slots = window._slots
    assert len(slots) <= WINDOW_S // SLOT_S
    assert all(len(slot.rows) < 10 * 32 for slot in slots)


def test_nothing_was_measured_at_first() -> None:
    assert LagWindow(ManualClock()).summary() is None

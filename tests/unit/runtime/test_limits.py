"""The limiter that decides while Redis is away."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from paycore.runtime.limits import MOST_CLIENTS, LocalLimiter, RateLimit


class SetClock:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def now_us(self) -> int:
        return int(self.seconds * 1_000_000)

    def monotonic_s(self) -> float:
        return self.seconds


def test_a_burst_is_admitted_and_nothing_beyond_it() -> None:
    limiter = LocalLimiter(RateLimit(10, 5), SetClock())
    assert [limiter.wait_us("a", 1) for _ in range(5)] == [0] * 5
    assert limiter.wait_us("a", 1) > 0


def test_the_rate_refills() -> None:
    clock = SetClock()
    limiter = LocalLimiter(RateLimit(10, 5), clock)
    assert limiter.wait_us("a", 5) == 0
    wait_us = limiter.wait_us("a", 2)
    assert abs(wait_us - 200_000) < 1
    clock.seconds += wait_us / 1_000_000 + 1e-6
    assert limiter.wait_us("a", 2) == 0
    assert limiter.wait_us("a", 1) > 0


def test_a_refusal_costs_nothing() -> None:
    limiter = LocalLimiter(RateLimit(10, 5), SetClock())
    assert limiter.wait_us("a", 5) == 0
    waits = [limiter.wait_us("a", 1) for _ in range(3)]
    assert len(set(waits)) == 1


def test_clients_do_not_share() -> None:
    limiter = LocalLimiter(RateLimit(10, 5), SetClock())
    assert limiter.wait_us("a", 5) == 0
    assert limiter.wait_us("b", 5) == 0


def test_only_so_many_clients_are_remembered() -> None:
    limiter = LocalLimiter(RateLimit(10, 1), SetClock())
    for number in range(MOST_CLIENTS + 1):
        assert limiter.wait_us(str(number), 1) == 0
    assert limiter.wait_us(str(MOST_CLIENTS), 1) > 0
    assert limiter.wait_us("0", 1) == 0


@given(
    steps=st.lists(st.tuples(st.integers(0, 300_000), st.integers(1, 4)), max_size=60),
    burst=st.integers(4, 10),
)
def test_no_window_admits_more_than_burst_and_rate(
    steps: list[tuple[int, int]], burst: int
) -> None:
    clock = SetClock()
    limiter = LocalLimiter(RateLimit(10, burst), clock)
    admitted: list[tuple[float, int]] = []
    for pause_us, cost in steps:
        clock.seconds += pause_us / 1_000_000
        if limiter.wait_us("a", cost) == 0:
            admitted.append((clock.seconds, cost))
    for first, (start, _) in enumerate(admitted):
        taken = 0
        for at, cost in admitted[first:]:
            taken += cost
            assert taken <= burst + 10 * (at - start) + 1e-6


@given(rate=st.floats(0.5, 200_000), start_s=st.floats(0, 1e7), burst=st.integers(1, 1_000))
def test_a_whole_burst_at_once_is_admitted_at_every_rate(
    rate: float, start_s: float, burst: int
) -> None:
    clock = SetClock()
    clock.seconds = start_s
    assert LocalLimiter(RateLimit(rate, burst), clock).wait_us("a", burst) == 0

"""The limiter that decides while Redis is away."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from paycore.domain.limits import Limit, RateLimit
from paycore.runtime.limits.local import MOST_KEYS, MOST_RATES, LocalLimiter
from paycore.runtime.limits.rate import Charge
from tests.support.clocks import ManualClock


def client(rate: RateLimit, cost: int = 1, key: str = "a") -> Charge:
    return Charge(Limit.CLIENT, key, rate, cost)


def device(rate: RateLimit, cost: int = 1, key: str = "d") -> Charge:
    return Charge(Limit.DEVICE, key, rate, cost)


SLOW = RateLimit(20, 10)
"""Of which the process allows 10 a second and 5 at once."""


def test_half_a_burst_is_admitted_and_nothing_beyond_it() -> None:
    limiter = LocalLimiter(ManualClock())
    assert [limiter.decide([client(SLOW)]) for _ in range(5)] == [None] * 5
    excess = limiter.decide([client(SLOW)])
    assert excess is not None
    assert excess.charge.limit is Limit.CLIENT


def test_half_the_rate_refills() -> None:
    clock = ManualClock()
    limiter = LocalLimiter(clock)
    assert limiter.decide([client(SLOW, 5)]) is None
    excess = limiter.decide([client(SLOW, 2)])
    assert excess is not None
    assert abs(excess.wait_us - 200_000) < 1
    clock.at_s += excess.wait_us / 1_000_000 - 1e-3
    assert limiter.decide([client(SLOW, 2)]) is not None
    clock.at_s += 1e-3 + 1e-6
    assert limiter.decide([client(SLOW, 2)]) is None
    assert limiter.decide([client(SLOW)]) is not None


def test_a_refused_call_takes_nothing_from_any_limit() -> None:
    limiter = LocalLimiter(ManualClock())
    assert limiter.decide([device(SLOW, 5)]) is None
    for _ in range(20):
        excess = limiter.decide([client(SLOW), device(SLOW)])
        assert excess is not None
        assert excess.charge.limit is Limit.DEVICE
    assert limiter.decide([client(SLOW, 5)]) is None


def test_the_limit_that_waits_longest_is_named() -> None:
    limiter = LocalLimiter(ManualClock())
    slower = RateLimit(2, 10)
    assert limiter.decide([client(SLOW, 5), device(slower, 5)]) is None
    excess = limiter.decide([client(SLOW), device(slower)])
    assert excess is not None
    assert excess.charge.limit is Limit.DEVICE
    assert abs(excess.wait_us - 1_000_000) < 1


def test_what_the_whole_burst_would_let_through_is_not_refused_for_ever() -> None:
    limiter = LocalLimiter(ManualClock())
    assert limiter.decide([client(SLOW, 10)]) is None
    # It has taken all that this process may give.
    assert limiter.decide([client(SLOW)]) is not None
    assert limiter.decide([device(SLOW, 11)]) is not None


def test_keys_do_not_share() -> None:
    limiter = LocalLimiter(ManualClock())
    assert limiter.decide([client(SLOW, 5)]) is None
    assert limiter.decide([client(SLOW, 5, "b")]) is None


def test_only_so_many_keys_are_remembered() -> None:
    limiter = LocalLimiter(ManualClock())
    one = RateLimit(10, 1)
    for number in range(MOST_KEYS + 1):
        assert limiter.decide([client(one, 1, str(number))]) is None
    assert limiter.decide([client(one, 1, str(MOST_KEYS))]) is not None
    assert limiter.decide([client(one, 1, "0")]) is None


@given(
    steps=st.lists(st.tuples(st.integers(0, 300_000), st.integers(1, 4)), max_size=60),
    burst=st.integers(4, 10),
)
def test_no_window_admits_more_than_burst_and_rate(
    steps: list[tuple[int, int]], burst: int
) -> None:
    clock = ManualClock()
    limiter = LocalLimiter(clock)
    rate = RateLimit(20, 2 * burst)
    admitted: list[tuple[float, int]] = []
    for pause_us, cost in steps:
        clock.at_s += pause_us / 1_000_000
        if limiter.decide([client(rate, cost)]) is None:
            admitted.append((clock.at_s, cost))
    for first, (start, _) in enumerate(admitted):
        taken = 0
        for at, cost in admitted[first:]:
            taken += cost
            assert taken <= burst + 10 * (at - start) + 1e-6


@given(rate=st.floats(0.5, 200_000), start_s=st.floats(0, 1e7), burst=st.integers(1, 1_000))
def test_its_part_of_a_burst_at_once_is_admitted_at_every_rate(
    rate: float, start_s: float, burst: int
) -> None:
    limiter = LocalLimiter(ManualClock(start_s))
    assert limiter.decide([client(RateLimit(rate, 2 * burst), burst)]) is None


def test_a_limit_that_becomes_faster_lets_nobody_wait_longer_than_it_would() -> None:
    clock = ManualClock()
    limiter = LocalLimiter(clock)
    assert limiter.decide([client(RateLimit(0.02, 10), 5)]) is None
    # All of it is used, and 500 seconds of the slow limit; of the fast one that is half a second.
    fast = RateLimit(20, 10)
    excess = limiter.decide([client(fast)])
    assert excess is not None
    assert excess.wait_us <= 100_000
    clock.at_s += 0.5
    assert limiter.decide([client(fast, 5)]) is None


def test_a_limit_that_becomes_slower_gives_no_more_than_its_burst() -> None:
    limiter = LocalLimiter(ManualClock())
    assert limiter.decide([client(RateLimit(2_000, 10), 5)]) is None
    slow = RateLimit(0.02, 10)
    passed = [limiter.decide([client(slow)]) is None for _ in range(20)]
    assert passed.count(True) in (4, 5)


def test_only_so_many_rates_are_remembered() -> None:
    limiter = LocalLimiter(ManualClock())
    for number in range(1, 2 * MOST_RATES):
        assert limiter.decide([client(RateLimit(number, 2), 1, str(number))]) is None
    assert len(limiter._parts) <= MOST_RATES


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([RateLimit(0.02, 4), RateLimit(2, 10), RateLimit(400, 40)]),
            st.integers(1, 4),
            st.floats(0, 3),
        ),
        max_size=40,
    )
)
def test_whatever_held_before_nobody_waits_longer_than_the_burst_of_now_takes(
    steps: list[tuple[RateLimit, int, float]],
) -> None:
    clock = ManualClock()
    limiter = LocalLimiter(clock)
    for rate, cost, pause_s in steps:
        clock.at_s += pause_s
        part = rate.part(0.5)
        excess = limiter.decide([client(rate, cost)])
        if excess is not None:
            assert excess.wait_us <= min(cost, part.burst) * part.interval_us + 1

"""The attempt rules and the rules of weak PINs, without a database."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from paycore.domain.pin import Pin
from signing_service.policy import (
    COMMON_PINS,
    MAX_FAILURES,
    Admission,
    AttemptRules,
    Counter,
    Weakness,
    admit,
    after_failures,
    after_success,
    attempts_left,
    lock_us,
    weakness,
)

RULES = AttemptRules()
MINUTE_US = 60_000_000
NOW_US = 1_767_225_600_000_000


def failed(times: int, counter: Counter | None = None, now_us: int = NOW_US) -> Counter:
    counter = counter or Counter()
    for _ in range(times):
        counter = after_failures(counter, 1, now_us, RULES)
    return counter


def test_five_failures_lock_for_thirty_minutes() -> None:
    assert failed(4).locked_until_us == 0
    locked = failed(5)
    assert locked.locked_until_us == NOW_US + 30 * MINUTE_US
    assert admit(locked, 0, NOW_US) is Admission.LOCKED
    assert admit(locked, 0, locked.locked_until_us - 1) is Admission.LOCKED
    assert admit(locked, 0, locked.locked_until_us) is Admission.RESERVE


def test_attempts_left_count_down_to_none_while_locked_and_begin_anew_after() -> None:
    assert [attempts_left(failed(times), NOW_US) for times in range(6)] == [5, 4, 3, 2, 1, 0]
    locked = failed(5)
    assert attempts_left(locked, locked.locked_until_us) == 5


def test_each_further_lock_lasts_twice_as_long_up_to_a_bound() -> None:
    minutes = [lock_us(earlier, RULES) // MINUTE_US for earlier in range(5)]
    assert minutes == [30, 60, 120, 240, 480]
    assert lock_us(10_000, RULES) == RULES.longest_lock_us
    second = failed(5, failed(5), NOW_US + 30 * MINUTE_US)
    assert second.locked_until_us == NOW_US + 90 * MINUTE_US


def test_a_success_begins_anew_with_the_shortest_lock() -> None:
    locked = failed(5)
    cleared = after_success(locked, locked.failures)
    again_us = locked.locked_until_us
    assert failed(5, cleared, again_us).locked_until_us == again_us + 30 * MINUTE_US


def test_a_success_clears_only_failures_recorded_before_it_began() -> None:
    two = failed(2)
    four = failed(2, two)
    assert attempts_left(after_success(four, two.failures), NOW_US) == 3
    assert attempts_left(after_success(four, four.failures), NOW_US) == 5


def test_a_success_that_began_before_another_takes_nothing_back() -> None:
    three = failed(3)
    assert after_success(after_success(three, 3), 1) == after_success(three, 3)


@pytest.mark.parametrize("failures", range(5))
def test_no_more_attempts_are_open_than_are_left(failures: int) -> None:
    counter = failed(failures)
    left = MAX_FAILURES - failures
    assert admit(counter, left - 1, NOW_US) is Admission.RESERVE
    assert admit(counter, left, NOW_US) is Admission.WAIT


class ParallelAttempts(RuleBasedStateMachine):
    """Any order of reservations, verdicts and crashes: between locks at most five failures."""

    def __init__(self) -> None:
        super().__init__()
        self.counter = Counter()
        self.pending: list[int] = []
        self.failures_in_a_row = 0
        self.now_us = NOW_US

    @rule()
    def reserve(self) -> None:
        if admit(self.counter, len(self.pending), self.now_us) is Admission.RESERVE:
            self.pending.append(self.counter.failures)

    @precondition(lambda self: self.pending)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        began = self.pending.pop(data.draw(st.integers(0, len(self.pending) - 1)))
        since = self.counter.failures - began
        self.counter = after_success(self.counter, began)
        self.failures_in_a_row = min(self.failures_in_a_row, since)

    @precondition(lambda self: self.pending)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, len(self.pending)))
        del self.pending[:count]
        self.counter = after_failures(self.counter, count, self.now_us, RULES)
        self.failures_in_a_row += count

    @precondition(lambda self: self.counter.locked_until_us > self.now_us)
    @rule()
    def wait_for_the_lock(self) -> None:
        assert self.failures_in_a_row == MAX_FAILURES
        assert not self.pending
        self.now_us = self.counter.locked_until_us
        self.failures_in_a_row = 0

    @invariant()
    def at_most_five(self) -> None:
        assert self.failures_in_a_row + len(self.pending) <= MAX_FAILURES
        locked = self.counter.locked_until_us > self.now_us
        assert locked == (self.failures_in_a_row == MAX_FAILURES)
        if not locked:
            assert self.counter.consecutive == self.failures_in_a_row


TestParallelAttempts = ParallelAttempts.TestCase


@pytest.mark.parametrize(
    ("digits", "reason"),
    [
        ("1111", Weakness.SEQUENCE),
        ("000000000000", Weakness.SEQUENCE),
        ("1234", Weakness.SEQUENCE),
        ("7890", Weakness.SEQUENCE),
        ("543210", Weakness.SEQUENCE),
        ("2468", Weakness.SEQUENCE),
        ("1212", Weakness.REPETITION),
        ("123123", Weakness.REPETITION),
        ("73917391", Weakness.REPETITION),
        ("2580", Weakness.COMMON),
        ("112233", Weakness.COMMON),
        ("159753", Weakness.COMMON),
    ],
)
def test_a_weak_pin_is_refused_with_its_reason(digits: str, reason: Weakness) -> None:
    assert weakness(Pin(digits)) is reason


@pytest.mark.parametrize("digits", ["7391", "1243876", "739182640517", "1235"])
def test_an_ordinary_pin_is_not_weak(digits: str) -> None:
    assert weakness(Pin(digits)) is None


def test_every_common_pin_is_a_pin_and_weak_by_no_other_rule() -> None:
    for digits in COMMON_PINS:
        assert weakness(Pin(digits)) is Weakness.COMMON


def test_at_most_one_in_thirty_of_the_shortest_pins_is_refused() -> None:
    weak = sum(weakness(Pin(f"{number:04}")) is not None for number in range(10_000))
    assert 0 < weak <= 10_000 // 30

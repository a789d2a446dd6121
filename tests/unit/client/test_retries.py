"""How long to wait, and when not to try again."""

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paycore.client.errors import (
    REFUSALS,
    ClientError,
    HandshakeError,
    TimedOutError,
    UnreachableError,
    is_retryable,
)
from paycore.client.retries import (
    LEAST_ATTEMPT_S,
    LONGEST_PAUSE_S,
    Attempts,
    Patience,
    Timeouts,
)
from paycore.domain.errors import RETRYABLE, Reason


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


AWAY = UnreachableError(grpc.StatusCode.UNAVAILABLE, "away")


@pytest.mark.parametrize("reason", Reason)
def test_only_what_may_pass_is_tried_again(reason: Reason) -> None:
    wanted = reason in RETRYABLE or reason is Reason.DEADLINE_EXCEEDED
    assert is_retryable(REFUSALS[reason]("x"), repeatable=True) is wanted


@pytest.mark.parametrize(
    "failure", [AWAY, TimedOutError(grpc.StatusCode.DEADLINE_EXCEEDED, "")], ids=repr
)
def test_what_must_not_be_done_twice_is_not_sent_twice(failure: ClientError) -> None:
    assert is_retryable(failure, repeatable=True)
    assert not is_retryable(failure, repeatable=False)


def test_a_hopeless_handshake_is_not_tried_again() -> None:
    assert not is_retryable(HandshakeError("no"), repeatable=True)


@given(
    chances=st.lists(st.floats(0, 1, exclude_max=True), min_size=200, max_size=200),
    asked_ms=st.none() | st.integers(0, 20_000),
)
def test_attempts_and_pauses_fit_in_the_total(chances: list[float], asked_ms: int | None) -> None:
    clock, drawn = Clock(), iter(chances)
    timeouts = Timeouts()
    attempts = Attempts(timeouts, Patience.ORDINARY, clock, lambda: next(drawn))
    failure = (
        AWAY
        if asked_ms is None
        else REFUSALS[Reason.DATABASE_UNAVAILABLE]("x", retry_after_ms=asked_ms)
    )
    for _ in chances:
        timeout_s = attempts.timeout_s()
        assert timeout_s <= timeouts.ordinary_s
        # What is known is not replaced by the time-out of an attempt that had no chance.
        assert timeout_s > LEAST_ATTEMPT_S - 0.001
        clock.now_s += timeout_s
        pause_s = attempts.pause_or_none_s(failure)
        if pause_s is None:
            break
        assert pause_s >= (asked_ms or 0) / 1_000
        assert pause_s <= max(LONGEST_PAUSE_S, (asked_ms or 0) / 1_000 * 1.25)
        clock.now_s += pause_s
    else:
        pytest.fail("the attempts did not end")
    assert clock.now_s - 100.0 <= timeouts.total_s + 0.01


def test_pauses_grow() -> None:
    attempts = Attempts(Timeouts(), Patience.ORDINARY, Clock(), lambda: 0.0)
    pauses = [attempts.pause_s(AWAY) for _ in range(5)]
    assert pauses == sorted(pauses)
    assert pauses[0] < 0.05 < pauses[4]

"""What is kept is bounded in number and in time."""

from __future__ import annotations

from paycore.runtime.kept import Kept
from tests.support.clocks import ManualClock


def test_a_value_is_kept_for_its_time_however_often_it_is_asked_for() -> None:
    clock = ManualClock()
    kept: Kept[str, int] = Kept(10, 5.0, clock)
    kept.keep("a", 1)
    for _ in range(4):
        clock.at_s += 1.0
        assert kept.get("a") == 1
    clock.at_s += 1.0
    assert kept.get("a") is None
    assert len(kept) == 0


def test_of_too_many_the_least_recently_used_goes() -> None:
    kept: Kept[str, int] = Kept(2, 5.0, ManualClock())
    kept.keep("a", 1)
    kept.keep("b", 2)
    assert kept.get("a") == 1
    kept.keep("c", 3)
    assert [kept.get(one) for one in "abc"] == [1, None, 3]


def test_what_is_forgotten_is_gone() -> None:
    kept: Kept[str, int] = Kept(2, 5.0, ManualClock())
    kept.keep("a", 1)
    kept.forget("a")
    kept.forget("b")
    assert kept.get("a") is None

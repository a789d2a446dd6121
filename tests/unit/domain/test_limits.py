"""What limits can be set to, where, and what is left of one that is shared out."""

from __future__ import annotations

import pytest

from paycore.domain.limits import (
    HIGHEST_PER_S,
    LONGEST_S,
    MOST_BURST,
    MOST_DISTINCT,
    RATES,
    Limit,
    Place,
    RateLimit,
    place_faults,
    rate_faults,
    velocity_faults,
)

EVERYWHERE = Place("", "", Limit.CLIENT)


def test_one_unit_takes_up_its_share_of_a_second() -> None:
    assert RateLimit(4.0, 10).interval_us == 250_000


@pytest.mark.parametrize(
    ("share", "left"),
    [
        (1.0, RateLimit(100.0, 50)),
        (0.5, RateLimit(50.0, 25)),
        (0.25, RateLimit(25.0, 12)),
        (0.03, RateLimit(3.0, 1)),
        (0.001, RateLimit(0.1, 1)),
    ],
)
def test_a_part_is_as_steady_and_lets_at_least_one_come(share: float, left: RateLimit) -> None:
    part = RateLimit(100.0, 50).part(share)
    assert part.per_s == pytest.approx(left.per_s)
    assert part.burst == left.burst


@pytest.mark.parametrize(
    ("place", "looked_at"),
    [
        (EVERYWHERE, [EVERYWHERE]),
        (
            Place("app", "", Limit.USER),
            [Place("app", "", Limit.USER), Place("", "", Limit.USER)],
        ),
        (
            Place("app", "p.S/M", Limit.USER),
            [
                Place("app", "p.S/M", Limit.USER),
                Place("app", "", Limit.USER),
                Place("", "", Limit.USER),
            ],
        ),
    ],
)
def test_what_is_set_nearer_is_found_first(place: Place, looked_at: list[Place]) -> None:
    assert list(place.nearest_first()) == looked_at


@pytest.mark.parametrize("limit", Limit)
@pytest.mark.parametrize("client", ["", "app"])
def test_a_method_has_limits_of_a_client_alone_and_no_velocity(client: str, limit: Limit) -> None:
    assert place_faults(Place(client, "", limit)) == {}
    faults = place_faults(Place(client, "p.S/M", limit))
    assert set(faults) == (set() if client and limit in RATES else {"method"})


@pytest.mark.parametrize(
    ("per_s", "burst"),
    [
        (1, 1),
        (0.5, 1),
        (1 / LONGEST_S, 1),
        (100, LONGEST_S * 100),
        (HIGHEST_PER_S - 1, MOST_BURST),
    ],
)
def test_a_rate_may_be_any_that_comes_back_within_a_day(per_s: float, burst: int) -> None:
    assert rate_faults(per_s, burst) == {}


@pytest.mark.parametrize(
    ("per_s", "burst", "faulty"),
    [
        (0, 1, {"per_s"}),
        (-1, 1, {"per_s"}),
        (HIGHEST_PER_S, 1, {"per_s"}),
        (float("nan"), 1, {"per_s"}),
        (float("inf"), 1, {"per_s"}),
        (True, 1, {"per_s"}),
        ("1", 1, {"per_s"}),
        (None, 1, {"per_s"}),
        (1, 0, {"burst"}),
        (1, 1.0, {"burst"}),
        (1, True, {"burst"}),
        (HIGHEST_PER_S - 1, MOST_BURST + 1, {"burst"}),
        (1, LONGEST_S + 1, {"burst"}),
        (0, 0, {"per_s", "burst"}),
        ("1", "1", {"per_s", "burst"}),
    ],
)
def test_every_field_of_another_rate_is_named(
    per_s: object, burst: object, faulty: set[str]
) -> None:
    faults = rate_faults(per_s, burst)
    assert set(faults) == faulty
    assert all(faults.values())


def test_velocity_is_bounded_in_each_figure() -> None:
    assert velocity_faults(1, 1, 1) == {}
    assert velocity_faults(LONGEST_S, MOST_DISTINCT, MOST_DISTINCT) == {}
    assert set(velocity_faults(0, 1, 1)) == {"window_s"}
    assert set(velocity_faults(1, 0, 1)) == {"payees"}
    assert set(velocity_faults(1, 1, 0)) == {"identifiers"}
    assert set(velocity_faults(LONGEST_S + 1, 1, 1)) == {"window_s"}
    assert set(velocity_faults(1, MOST_DISTINCT + 1, 1)) == {"payees"}
    assert set(velocity_faults(1, 1, MOST_DISTINCT + 1)) == {"identifiers"}
    told = velocity_faults(True, 1.0, "1")
    assert told == {
        "window_s": f"a whole number from 1 to {LONGEST_S}",
        "payees": f"a whole number from 1 to {MOST_DISTINCT}",
        "identifiers": f"a whole number from 1 to {MOST_DISTINCT}",
    }

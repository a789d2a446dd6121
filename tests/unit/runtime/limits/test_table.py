"""Which source and which place decide what holds for a call."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paycore.domain.limits import (
    LONGEST_S,
    RATES,
    Limit,
    Place,
    RateLimit,
    Setting,
    Source,
    VelocityLimit,
    place_faults,
    rate_faults,
    velocity_faults,
)
from paycore.runtime.limits.table import (
    CONFIGURED_ONLY,
    DEFAULTS,
    LimitTable,
    Said,
    Scoped,
)

SUBMIT = "paycore.v1.TransferService/SubmitTransfer"
HOLD = "paycore.v1.TransferService/HoldFunds"
ALL = Place("", "", Limit.DEVICE)
APP = Place("app", "", Limit.DEVICE)
APP_SUBMIT = Place("app", SUBMIT, Limit.DEVICE)
ONE, TWO, THREE = RateLimit(1, 1), RateLimit(2, 2), RateLimit(3, 3)


def table(file: dict[Place, Setting], changed: dict[Place, Setting]) -> LimitTable:
    said = {place: Said(setting, Source.DATABASE, 7) for place, setting in changed.items()}
    return LimitTable().with_file(file).with_changes(said)


def device(one: LimitTable, client: str = "app", method: str = SUBMIT) -> Scoped | None:
    return one.rates(client, method).get(Limit.DEVICE)


def test_the_database_overrides_the_file_and_the_file_the_default_in_one_place() -> None:
    assert device(table({}, {})) == Scoped(RateLimit(10, 1_000), "")
    assert device(table({ALL: ONE}, {})) == Scoped(ONE, "")
    assert device(table({ALL: ONE}, {ALL: TWO})) == Scoped(TWO, "")
    assert device(table({ALL: ONE}, {ALL: TWO}).with_changes({})) == Scoped(ONE, "")
    assert device(table({APP_SUBMIT: ONE}, {APP_SUBMIT: TWO})) == Scoped(TWO, SUBMIT)


def test_a_nearer_place_of_any_source_holds_before_a_wider_one() -> None:
    # A new default does not undo what the file says of one client.
    assert device(table({APP: ONE}, {ALL: TWO})) == Scoped(ONE, "")
    assert device(table({APP: ONE}, {ALL: TWO}), "other") == Scoped(TWO, "")
    one = table({APP_SUBMIT: ONE}, {APP: TWO})
    assert (device(one), device(one, method=HOLD)) == (Scoped(ONE, SUBMIT), Scoped(TWO, ""))


def test_no_limit_is_said_as_well_and_ends_at_its_place() -> None:
    one = table({ALL: ONE}, {APP: None, APP_SUBMIT: TWO})
    assert (device(one), device(one, method=HOLD)) == (Scoped(TWO, SUBMIT), None)
    assert device(one, "other") == Scoped(ONE, "")


def test_velocity_follows_the_same_order() -> None:
    all_of, app = (Place(client, "", Limit.VELOCITY) for client in ("", "app"))
    few, many = VelocityLimit(60, 1, 1), VelocityLimit(7_200, 9, 9)
    one = table({all_of: few}, {app: many})
    assert (one.velocity("app"), one.velocity("other")) == (many, few)
    assert one.longest_window_s() == 7_200
    assert table({all_of: few}, {all_of: None}).velocity("app") is None
    assert table({all_of: few}, {all_of: None}).longest_window_s() == 0


def test_what_holds_is_told_with_its_place_source_and_revision() -> None:
    one = table({APP: ONE}, {ALL: TWO})
    assert one.in_force(APP_SUBMIT) == (APP, Said(ONE, Source.FILE))
    assert one.in_force(APP_SUBMIT._replace(client="other")) == (
        ALL,
        Said(TWO, Source.DATABASE, 7),
    )
    assert one.in_force(Place("x", HOLD, Limit.USER)) == (
        Place("", "", Limit.USER),
        Said(DEFAULTS[Limit.USER], Source.DEFAULT),
    )


def test_changing_limits_is_bound_by_the_configuration_and_counted_apart() -> None:
    tight = RateLimit(0.001, 1)
    everybody, operator = (Place(client, "", Limit.CLIENT) for client in ("", "operator"))
    one = table({operator: TWO}, {everybody: tight, operator: tight})
    assert one.rates("operator", SUBMIT)[Limit.CLIENT] == Scoped(tight, "")
    assert one.rates("operator", f"{CONFIGURED_ONLY}/RemoveLimit")[Limit.CLIENT] == Scoped(
        TWO, CONFIGURED_ONLY
    )


@given(
    places=st.lists(
        st.tuples(
            st.sampled_from(["", "app", "b"]),
            st.sampled_from(["", SUBMIT, HOLD]),
            st.sampled_from(RATES),
            st.sampled_from(list(Source)),
            st.one_of(st.none(), st.integers(1, 9)),
        ),
        max_size=20,
    )
)
def test_what_holds_is_the_nearest_and_of_it_the_last_source(
    places: list[tuple[str, str, Limit, Source, int | None]],
) -> None:
    """Against a search that is written the other way round: over sources and places as data."""
    layers: dict[Source, dict[Place, Setting]] = {source: {} for source in Source}
    for client, method, limit, source, rate in places:
        if source is not Source.DEFAULT and (client or not method):
            setting = None if rate is None else RateLimit(rate, rate)
            layers[source][Place(client, method, limit)] = setting
    one = table(layers[Source.FILE], layers[Source.DATABASE])
    layers[Source.DEFAULT] = {Place("", "", limit): DEFAULTS[limit] for limit in RATES}
    for client in ("app", "b", "c"):
        for method in (SUBMIT, HOLD):
            found = one.rates(client, method)
            for limit in RATES:
                wanted: Scoped | None = None
                # From the least to the most particular: the last that speaks is right.
                for place in (("", ""), (client, ""), (client, method)):
                    for source in Source:
                        said = layers[source]
                        if (key := Place(*place, limit)) in said:
                            rate_limit = said[key]
                            wanted = (
                                Scoped(rate_limit, place[1])
                                if isinstance(rate_limit, RateLimit)
                                else None
                            )
                assert found.get(limit) == wanted


@pytest.mark.parametrize(
    ("per_s", "burst", "fields"),
    [
        (1, 1, set()),
        (0.5, LONGEST_S // 2, set()),
        (0.5, LONGEST_S // 2 + 1, {"burst"}),
        (0, 1, {"per_s"}),
        (-1.0, 0, {"per_s", "burst"}),
        (math.nan, 1, {"per_s"}),
        (math.inf, 1, {"per_s"}),
        (1e9, 1, {"per_s"}),
        (True, True, {"per_s", "burst"}),
        ("1", 1.0, {"per_s", "burst"}),
        (1e8, 1_000_000_001, {"burst"}),
    ],
)
def test_figures_of_a_rate_are_all_looked_at(
    per_s: object, burst: object, fields: set[str]
) -> None:
    assert set(rate_faults(per_s, burst)) == fields


def test_figures_of_velocity_are_all_looked_at() -> None:
    assert velocity_faults(86_400, 1_000, 1_000) == {}
    assert set(velocity_faults(86_401, 1_001, 0)) == {"window_s", "payees", "identifiers"}


def test_a_limit_of_a_method_is_a_client_s_and_a_rate() -> None:
    assert place_faults(APP_SUBMIT) == {}
    assert set(place_faults(Place("", SUBMIT, Limit.USER))) == {"method"}
    assert set(place_faults(Place("app", SUBMIT, Limit.VELOCITY))) == {"method"}

"""Positions of institutions add up, whatever moved between them."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from paycore.domain.money import Currency
from query_service.institution_positions import (
    InstitutionPosition,
    positions_of,
)
from query_service.readers.statistics import InstitutionFlow

NAMES = st.sampled_from(("north", "south", "west"))
FLOWS = st.lists(
    st.builds(
        InstitutionFlow,
        st.sampled_from((Currency("EUR"), Currency("JPY"))),
        NAMES,
        NAMES,
        st.integers(1, 9),
        st.integers(1, 2**70),
    )
)


@given(FLOWS)
def test_nets_add_up_to_zero_and_nothing_is_lost(flows: list[InstitutionFlow]) -> None:
    positions = positions_of(flows)
    nets: dict[str, int] = defaultdict(int)
    for position in positions:
        nets[position.currency] += position.net
    assert not any(nets.values())
    paid: dict[str, int] = defaultdict(int)
    for position in positions:
        paid[position.currency] += position.paid + position.within
    for flow in flows:
        paid[flow.currency] -= flow.total
    assert not any(paid.values())
    keys = [position[:2] for position in positions]
    assert keys == sorted(set(keys))


def test_what_moves_within_an_institution_is_no_part_of_its_net() -> None:
    euro = Currency("EUR")
    flows = [
        InstitutionFlow(euro, "north", "north", 2, 70),
        InstitutionFlow(euro, "north", "south", 1, 5),
        InstitutionFlow(euro, "south", "north", 1, 3),
    ]
    north, south = positions_of(flows)
    assert north == InstitutionPosition(euro, "north", paid=5, received=3, within=70)
    assert south == InstitutionPosition(euro, "south", paid=3, received=5, within=0)
    assert (north.net, south.net) == (-2, 2)

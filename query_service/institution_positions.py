"""From flows between institutions to the position of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from paycore.domain.money import Currency
from query_service.readers.statistics import InstitutionFlow


class InstitutionPosition(NamedTuple):
    """What one institution paid to others and received from them, in minor units."""

    currency: Currency
    institution: str
    paid: int
    received: int
    within: int
    """Between its own accounts: it changes no position."""

    @property
    def net(self) -> int:
        """What others owe it; negative where it owes."""
        return self.received - self.paid


class UnbalancedPositionsError(Exception):
    """Positions whose nets do not add up to zero: a defect, which no settlement may rest on."""


def positions_of(flows: Iterable[InstitutionFlow]) -> list[InstitutionPosition]:
    """The position of every institution in `flows`, by (currency, institution)."""
    paid: dict[tuple[Currency, str], int] = defaultdict(int)
    received: dict[tuple[Currency, str], int] = defaultdict(int)
    within: dict[tuple[Currency, str], int] = defaultdict(int)
    for flow in flows:
        if flow.payer == flow.payee:
            within[flow.currency, flow.payer] += flow.total
        else:
            paid[flow.currency, flow.payer] += flow.total
            received[flow.currency, flow.payee] += flow.total
    return [
        InstitutionPosition(*key, paid.get(key, 0), received.get(key, 0), within.get(key, 0))
        for key in sorted(paid.keys() | received.keys() | within.keys())
    ]


def check_balanced(positions: Iterable[InstitutionPosition]) -> None:
    """Raise UnbalancedPositionsError where the nets of a currency do not add up to zero."""
    nets: dict[Currency, int] = defaultdict(int)
    for position in positions:
        nets[position.currency] += position.net
    wrong = {currency: net for currency, net in nets.items() if net}
    if wrong:
        raise UnbalancedPositionsError(f"nets do not add up to zero: {wrong}")

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


def positions_of(flows: Iterable[InstitutionFlow]) -> list[InstitutionPosition]:
    """The position of every institution in `flows`, by (currency, institution).

    The nets of a currency add up to zero whatever the flows are: each is paid and received. That
    all transfers are in them, each with both its institutions, is for whoever reads them.
    """
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

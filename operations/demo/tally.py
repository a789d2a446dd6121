"""The demo's own books: what its calls were told, to hold the read side against."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container
from dataclasses import dataclass, field

from paycore.client import Transfer, TransferKind


@dataclass(slots=True)
class Exchange:
    """What one account exchanged with another, in minor units."""

    count: int = 0
    sent: int = 0
    received: int = 0


@dataclass(slots=True)
class Tally:
    """Every posted transfer of a run, added up as it was acknowledged."""

    outcomes: Counter[str] = field(default_factory=Counter)
    volume: Counter[tuple[str, TransferKind]] = field(default_factory=Counter)
    """Minor units by currency and kind."""
    counts: Counter[tuple[str, TransferKind]] = field(default_factory=Counter)
    exchanges: dict[int, dict[int, Exchange]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Exchange))
    )
    """By account, then by its counterparty."""

    def posted(self, transfer: Transfer) -> None:
        """Add an acknowledged transfer."""
        place = (transfer.amount.currency, transfer.kind)
        amount = transfer.amount.minor_units
        self.volume[place] += amount
        self.counts[place] += 1
        sent = self.exchanges[transfer.debit_account][transfer.credit_account]
        sent.count += 1
        sent.sent += amount
        received = self.exchanges[transfer.credit_account][transfer.debit_account]
        received.count += 1
        received.received += amount

    def busiest(self, outside: Container[int]) -> int:
        """The account with the most transfers, those `outside` left out."""
        return max(
            (account for account in self.exchanges if account not in outside),
            key=lambda account: sum(item.count for item in self.exchanges[account].values()),
        )

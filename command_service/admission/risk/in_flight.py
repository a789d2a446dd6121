"""Payments that were let through and whose outcome is not known yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count, islice
from typing import NamedTuple

from command_service.admission.risk.by_time import ByTime
from command_service.admission.risk.port import Ending
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.plan import Key

MOST = 100_000
"""Attempts that are remembered at once."""

POSTING_S = 30.0
"""Longer than a payment that was taken before its deadline can be under way, and than a commit
whose reply was cut off can still take effect, in seconds."""

RETRY_AFTER_MS = 200
"""Wait suggested to callers for whom there is no room, in milliseconds."""


class _Attempt(NamedTuple):
    """What one call may move of one payer's money."""

    payer: AccountId
    key: Key


@dataclass(slots=True)
class _Payment:
    """What is under way of one payer under one key."""

    amount: int = 0
    """The largest of its attempts, of which one takes effect at most."""
    tickets: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Payer:
    """What is under way of one payer."""

    total: int = 0
    payments: dict[Key, _Payment] = field(default_factory=dict)
    in_doubt: dict[Key, None] = field(default_factory=dict)
    """Payments that may be stored although nobody was told so, the oldest first."""


class InFlight:
    """Amounts by payer and key, from the verdict to the outcome.

    An attempt has a ticket, by which its end is told. One that is told to have been stored ends all
    attempts of its key; one of which nobody knows stays until it can take effect no more. So does
    one whose end is not told. A client has as much room as is left: alone it fills half, and there
    is always some for those who have less.
    """

    def __init__(self, most: int = MOST) -> None:
        """`most` bounds the attempts of all clients together."""
        self._most = most
        self._numbers = count(1)
        self._attempts: dict[int, _Attempt] = {}
        self._payers: dict[AccountId, _Payer] = {}
        self._of_client: Counter[str] = Counter()
        self._ends = ByTime()

    def __len__(self) -> int:
        return len(self._attempts)

    def add(
        self, key: Key, amounts: Mapping[AccountId, int], posts_until_s: float, now_s: float
    ) -> Mapping[AccountId, int]:
        """Remember what a call under `key` may move of each payer's money; a ticket for each.

        `posts_until_s` is the call's deadline. Raises PaycoreError OVERLOADED; then nothing was
        added.
        """
        self.forget_old(now_s)
        client, _ = key
        if len(amounts) > self._most - len(self) - self._of_client[client]:
            raise PaycoreError(
                Reason.OVERLOADED,
                f"too many payments of {client} are under way",
                {"limit": str(self._most)},
                retry_after_ms=RETRY_AFTER_MS,
            )
        return {
            payer: self._add(_Attempt(payer, key), amount, posts_until_s + POSTING_S)
            for payer, amount in amounts.items()
        }

    def end(self, tickets: Iterable[int], ending: Ending, now_s: float) -> None:
        """Take note of how attempts ended. Those that ended before are passed over."""
        for ticket in tickets:
            attempt = self._attempts.get(ticket)
            if attempt is None:
                continue
            match ending:
                case Ending.STORED:
                    self.settle(attempt.payer, attempt.key)
                case Ending.NOTHING_STORED:
                    self._forget(ticket)
                case Ending.UNKNOWN:
                    self._payers[attempt.payer].in_doubt[attempt.key] = None
                    self._ends.put(ticket, now_s + POSTING_S)

    def in_doubt(self, payer: AccountId, most: int) -> list[Key]:
        """Up to `most` keys of the payer's payments that may be stored already."""
        known = self._payers.get(payer)
        return [] if known is None else list(islice(known.in_doubt, most))

    def settle(self, payer: AccountId, key: Key) -> None:
        """Forget the payer's payment under `key`, which is stored."""
        known = self._payers.get(payer)
        payment = None if known is None else known.payments.get(key)
        if payment is not None:
            for ticket in tuple(payment.tickets):
                self._forget(ticket)

    def of_others(self, payer: AccountId, key: Key) -> int:
        """What the payer's payments under other keys come to, in minor units."""
        known = self._payers.get(payer)
        if known is None:
            return 0
        own = known.payments.get(key)
        return known.total if own is None else known.total - own.amount

    def forget_old(self, now_s: float) -> None:
        """Forget what can take effect no more."""
        for ticket in self._ends.due(now_s):
            self._forget(ticket)

    def _add(self, attempt: _Attempt, amount: int, until_s: float) -> int:
        ticket = next(self._numbers)
        payer = self._payers.setdefault(attempt.payer, _Payer())
        payment = payer.payments.setdefault(attempt.key, _Payment())
        payment.tickets.add(ticket)
        payer.total += max(0, amount - payment.amount)
        payment.amount = max(amount, payment.amount)
        self._attempts[ticket] = attempt
        self._of_client[attempt.key[0]] += 1
        self._ends.put(ticket, until_s)
        return ticket

    def _forget(self, ticket: int) -> None:
        attempt = self._attempts.pop(ticket)
        self._ends.drop(ticket)
        client = attempt.key[0]
        self._of_client[client] -= 1
        if not self._of_client[client]:
            del self._of_client[client]
        payer = self._payers[attempt.payer]
        payment = payer.payments[attempt.key]
        payment.tickets.discard(ticket)
        if payment.tickets:
            return
        payer.total -= payment.amount
        del payer.payments[attempt.key]
        payer.in_doubt.pop(attempt.key, None)
        if not payer.payments:
            del self._payers[attempt.payer]

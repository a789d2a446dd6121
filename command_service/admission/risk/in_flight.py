"""Payments that were let through and may not be posted yet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import NamedTuple

from command_service.admission.risk.port import Question
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.plan import Key

MOST = 100_000
"""Payments that are remembered at once; beyond it callers get OVERLOADED."""

POSTING_S = 30.0
"""Longer than a payment that was taken before its deadline can be under way, in seconds."""


class _Place(NamedTuple):
    """One payment: its payer, its key, its place in a group."""

    payer: AccountId
    key: Key
    item: int


class InFlight:
    """Amounts by payer and key, until they are known to be stored or can be posted no more."""

    def __init__(self) -> None:
        self._until_s: OrderedDict[_Place, float] = OrderedDict()
        self._amounts: dict[AccountId, dict[_Place, int]] = {}

    def __len__(self) -> int:
        return len(self._until_s)

    def add(self, question: Question, now_s: float) -> None:
        """Remember a payment that was let through, again or for the first time.

        Raises PaycoreError OVERLOADED.
        """
        while self._until_s and next(iter(self._until_s.values())) <= now_s:
            self._forget(next(iter(self._until_s)))
        if len(self._until_s) >= MOST:
            # One whose caller is very patient may stand before others.
            for place in [one for one, until_s in self._until_s.items() if until_s <= now_s]:
                self._forget(place)
        if len(self._until_s) >= MOST:
            raise PaycoreError(
                Reason.OVERLOADED, "too many payments are in flight", {"limit": str(MOST)}
            )
        place = _place(question)
        self._until_s[place] = question.posts_until_s + POSTING_S
        self._amounts.setdefault(place.payer, {})[place] = question.command.amount

    def keys(self, payer: AccountId) -> set[Key]:
        """Those of the payer's payments."""
        return {place.key for place in self._amounts.get(payer, ())}

    def settle(self, payer: AccountId, keys: Collection[Key], now_s: float) -> None:
        """Forget the payer's payments under `keys`, which have outcomes, and those out of time."""
        for place in [*self._amounts.get(payer, ())]:
            if place.key in keys or self._until_s[place] <= now_s:
                self._forget(place)

    def sums(self, question: Question) -> tuple[int, int]:
        """What the payer's payments come to: the items before this one, and those of other keys.

        What an earlier attempt of the same key brought from this item on is neither: it is this.
        """
        this = _place(question)
        own = others = 0
        for place, amount in self._amounts.get(this.payer, {}).items():
            if place.key != this.key:
                others += amount
            elif place.item < this.item:
                own += amount
        return own, others

    def _forget(self, place: _Place) -> None:
        del self._until_s[place]
        amounts = self._amounts[place.payer]
        del amounts[place]
        if not amounts:
            del self._amounts[place.payer]


def _place(question: Question) -> _Place:
    command = question.command
    return _Place(command.debit_account, (command.client, command.key), question.item or 0)

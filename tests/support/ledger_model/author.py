"""Writes random programs: mostly sensible requests, close to every limit, and some that are not."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from tests.support.ledger_model.asked import (
    Asked,
    Change,
    Command,
    Following,
    LimitChange,
    Payment,
    StatusChange,
    Together,
)
from tests.support.ledger_model.books import HIGHEST, Books
from tests.support.ledger_model.following import HOUSEKEEPER, PARENTS, REVIEWS
from tests.support.ledger_model.told import Movement
from tests.support.ledger_model.world import CLEARING

NOBODY = 99
"""Number of an account, or of a transfer, that does not exist."""

HOUR_US = 3600 * 1_000_000

CLOCKS_APART_US = 20
"""How much earlier than its time the end of a hold may be asked for, by a clock that runs ahead."""


LARGEST = 2**62
"""The largest amount that a command may name, in minor units."""


@dataclass
class Author:
    """Asks in the name of `clients` for what the books, as they stand, make interesting.

    With `near` deadlines, holds may expire within the program; `judged` payments carry the verdict
    of a check before the posting; `largest` is the highest amount that may be asked for.
    """

    books: Books
    chance: random.Random
    clients: Sequence[str]
    near_us: Sequence[int] = ()
    judged: bool = False
    strangers: bool = False
    """Whether to follow transfers that do not exist."""
    largest: int = HIGHEST
    asked: list[Command] = field(default_factory=list)
    """What was asked before and has been answered."""
    changes: list[Change] = field(default_factory=list)
    """The same of changes of accounts."""
    prefix: str = ""
    """Begins all keys, where programs share a ledger."""
    keys: int = 0

    def any_command(self, client: str | None = None, now_us: int = 0) -> Command:
        """A payment, something that follows one, a group, or what was asked before."""
        writers: list[tuple[int, Callable[[str, int], Command]]] = [
            (6, self.payment),
            (3, self.hold),
            (8, self.following),
            (2, self.together),
            (2, self.again),
        ]
        weights = [weight for weight, _ in writers]
        (writer,) = self.chance.choices([writer for _, writer in writers], weights)
        return writer(client or self.client(), now_us)

    def client(self) -> str:
        """One of them by chance."""
        return self.chance.choice(self.clients)

    def deposits(self, most: int) -> list[Payment]:
        """Something for every customer to begin with, from its own client's world outside."""
        found = []
        for number, account in self.books.accounts.items():
            sources = [
                one
                for one in self._mine(account.opened_by, outside=True)
                if self.books.accounts[one].currency == account.currency
            ]
            if not account.outside and sources:
                amount = self.chance.randint(1, most)
                client, key = account.opened_by, self._key()
                found.append(
                    Payment(client, key, "DEPOSIT", sources[0], number, amount, account.currency)
                )
        return found

    def payment(self, client: str, now_us: int = 0) -> Payment:
        """From a customer to another, into the ledger or out of it."""
        kinds = [("TRANSFER", 6), ("DEPOSIT", 4), ("WITHDRAWAL", 2), ("FEE", 2)]
        if client == CLEARING.client:
            kinds = [("TRANSFER", 1), ("NET_SETTLEMENT", 8)]
        kind = self._choose(*kinds)
        return self._payment(client, kind, now_us)

    def hold(self, client: str, now_us: int = 0) -> Payment:
        """Money set aside, now and then for as long as may be, or a moment longer."""
        longest = 366 * 24 * HOUR_US
        ends = [HOUR_US] * 4 + [0, longest, longest + HOUR_US, *self.near_us, *self.near_us]
        expires_us = now_us + self.chance.choice(ends)
        return replace(self._payment(client, "HOLD", now_us), expires_us=expires_us)

    def following(self, client: str, now_us: int = 0) -> Command:
        """A capture, a release, a refund, a reversal, a word on a review."""
        wish = self._choose(("CAPTURE", 6), ("RELEASE", 2), ("REFUND", 5), ("REVERSAL", 3),
                            ("APPROVE", 2), ("REFUSE", 2))  # fmt: skip
        parent = self._parent(wish)
        if parent is None and not (self.strangers and self.chance.random() < 0.1):
            return self.payment(client, now_us)
        amount, currency = None, None
        if parent is not None and wish in ("CAPTURE", "REFUND") and self.chance.random() < 0.7:
            amount = self._amount(self.books.remaining(parent))
            currency = parent.currency if self.chance.random() < 0.95 else "USD"
        final = wish != "CAPTURE" or self.chance.random() < 0.5
        number = NOBODY * 1000 if parent is None else parent.number
        if parent is not None and self.chance.random() < 0.7:
            client = self._able(wish, parent, client)
        return Following(client, self._key(), wish, number, amount, currency, final)

    def expiry(self, now_us: int) -> Following | None:
        """The end of a hold whose time is up or nearly so; now and then once more."""
        due = [
            one
            for one in self.books.movements
            if one.expires_us is not None and one.expires_us < now_us + CLOCKS_APART_US
        ]
        if not due:
            return None
        hold = self.chance.choice(due[-4:])
        return Following(HOUSEKEEPER, f"{self.prefix}expire/{hold.number}", "EXPIRE", hold.number)

    def together(self, client: str, now_us: int = 0) -> Together:
        """A payroll of one payer, or a chain in which each spends what it was just given."""
        customers = self._mine(client, outside=False)
        if self.chance.random() < 0.5 and len(customers) > 1:
            payer = self.chance.choice(customers)
            share = max(1, self.books.available(payer) // 3)
            others = [one for one in customers if one != payer]
            items = [
                replace(
                    self._payment(client, "TRANSFER", now_us),
                    debit=payer,
                    credit=self.chance.choice(others),
                    amount=self._amount(share),
                    currency=self.books.accounts[payer].currency,
                )
                for _ in range(self.chance.randint(1, 4))
            ]
        else:
            items = [self.payment(client, now_us) for _ in range(self.chance.randint(1, 5))]
        return Together(
            client,
            self._key(),
            tuple(replace(item, key="", verdict=self._seldom(item.verdict)) for item in items),
        )

    def again(self, client: str, now_us: int = 0) -> Command:
        """A request of before, exactly or with what does not matter changed, or its key reused."""
        mine = [one for one in self.asked if one.client == client]
        if not mine:
            return self.payment(client, now_us)
        earlier = self.chance.choice(mine)
        draw = self.chance.random()
        if draw < 0.6:
            return earlier
        if isinstance(earlier, Payment) and draw < 0.8:
            return replace(earlier, expected_debit_version=self.chance.randint(0, 9))
        if isinstance(earlier, Following) and earlier.wish not in ("CAPTURE", "REFUND"):
            # The others name no amount, and another parent would have other accounts.
            return earlier
        if isinstance(earlier, Payment | Following):
            amount = earlier.amount or 0
            # More than the largest amount would be a bad field, whatever the key.
            other = amount + 1 if amount < LARGEST else amount - 1
            return replace(earlier, amount=other, currency="EUR")
        return replace(earlier, items=(*earlier.items[:-1], *earlier.items[:1]))

    def change(self, client: str) -> Change:
        """An account's status or limit, now and then with a word on its revision."""
        mine = [one for one in self.changes if one.client == client]
        if mine and self.chance.random() < 0.15:
            return self.chance.choice(mine)
        number = self.chance.choice([*self.books.accounts, NOBODY])
        account = self.books.accounts.get(number)
        key, revision = f"change/{self._key()}", None
        if account is not None and self.chance.random() < 0.3:
            revision = account.revision + self.chance.choice((0, 0, 1))
        if self.chance.random() < 0.4:
            used = 0
            if account is not None:
                used = self.books.held(number) - self.books.balance(number)
            limits = (0, 25, 100, 300, max(0, used), max(0, used - 1))
            limit = min(self.chance.choice(limits), self.largest)
            return LimitChange(client, key, number, limit, revision)
        status = self._choose(("ACTIVE", 6), ("FROZEN", 3), ("CLOSED", 1))
        return StatusChange(client, key, number, status, revision)

    def answered(self, asked: Sequence[Asked]) -> None:
        """Remember `asked`, which may be asked again from now on."""
        for one in asked:
            if isinstance(one, StatusChange | LimitChange):
                self.changes.append(one)
            else:
                self.asked.append(one)

    def _payment(self, client: str, kind: str, now_us: int) -> Payment:
        debit, credit = self._sides(client, kind)
        payer = self.books.accounts.get(debit)
        limit = 200
        if payer is not None and not payer.outside:
            limit = self.books.available(debit)
        amount = self._amount(limit)
        if self.chance.random() < 0.1:
            threshold = self.books.thresholds.get("EUR", 0)
            amount = min(threshold + self.chance.randint(0, 1), self.largest) or 1
        if kind == "DEPOSIT" and self.chance.random() < 0.03:
            amount = self.largest
        currency = "EUR" if payer is None else payer.currency
        if self.chance.random() < 0.03:
            currency = "USD"
        return Payment(
            client,
            self._key(),
            kind,
            debit,
            credit,
            amount,
            currency,
            reference=self.chance.choice((None, None, "rent")),
            expected_debit_version=self._expected(debit),
            expected_credit_version=None if kind == "HOLD" else self._expected(credit),
            verdict=self._verdict(kind),
        )

    def _sides(self, client: str, kind: str) -> tuple[int, int]:
        everybody = [*self.books.accounts, NOBODY]
        if self.chance.random() < 0.06:
            return self.chance.choice(everybody), self.chance.choice(everybody)
        into = kind == "DEPOSIT"
        out = kind == "WITHDRAWAL" or (kind == "HOLD" and self.chance.random() < 0.3)
        debit = self.chance.choice(self._mine(client, outside=into))
        currency = self.books.accounts[debit].currency
        payees = [
            number
            for number, account in self.books.accounts.items()
            if number != debit and (account.outside, account.currency) == (out, currency)
        ]
        return debit, self.chance.choice(payees or everybody)

    def _mine(self, client: str, *, outside: bool) -> list[int]:
        """What `client` opened, or where that is nothing, what others did."""
        found = [n for n, one in self.books.accounts.items() if one.outside is outside]
        return [n for n in found if self.books.accounts[n].opened_by == client] or found

    def _parent(self, wish: str) -> Movement | None:
        movements = self.books.movements
        if not movements or self.chance.random() < 0.03:
            return None
        if self.chance.random() < 0.1:
            return self.chance.choice(movements)
        if wish in ("REFUND", "REVERSAL"):
            fitting = [one for one in movements if one.kind in PARENTS[wish]]
        else:
            review = wish in REVIEWS
            fitting = [
                one
                for one in movements
                if one.kind == "HOLD" and review == (one.review is not None)
            ]
        if self.chance.random() < 0.6:
            fitting = [one for one in fitting if self.books.remaining(one)] or fitting
        if not fitting and self.chance.random() < 0.7:
            return None
        # The latest have more left to be done with.
        return self.chance.choice((fitting or movements)[-8:])

    def _able(self, wish: str, parent: Movement, otherwise: str) -> str:
        action = "REVIEW" if wish in REVIEWS else wish
        account = parent.credit if wish in ("REFUND", "REVERSAL") else parent.debit
        able = [one for one in self.clients if self.books.allows(one, action, account)]
        return self.chance.choice(able or [otherwise])

    def _amount(self, limit: int) -> int:
        """Between nothing and `limit`, often at it, sometimes just above it."""
        draw = self.chance.random()
        if draw < 0.15:
            amount = limit
        elif draw < 0.3:
            amount = limit + 1
        else:
            amount = self.chance.randint(1, max(1, limit * 2 // 3))
        return min(max(1, amount), self.largest)

    def _expected(self, number: int) -> int | None:
        if number not in self.books.accounts or self.chance.random() < 0.85:
            return None
        return max(0, self.books.version(number) + self.chance.choice((0, 0, 0, 1, -1)))

    def _verdict(self, kind: str) -> tuple[str, str] | None:
        if not self.judged or kind not in ("TRANSFER", "WITHDRAWAL", "HOLD"):
            return None
        # What a review of a hold would mean, nothing says.
        rare = [] if kind == "HOLD" else [("REVIEW", "new-payee")]
        return self.chance.choice([("APPROVE", "")] * 7 + [("DECLINE", "day-limit")] + rare * 2)

    def _seldom(self, verdict: tuple[str, str] | None) -> tuple[str, str] | None:
        """A group of many items would else hardly ever pass."""
        return verdict if self.chance.random() < 0.2 else None

    def _key(self) -> str:
        self.keys += 1
        return f"{self.prefix}k{self.keys}"

    def _choose(self, *weighted: tuple[str, int]) -> str:
        (word,) = self.chance.choices(
            [word for word, _ in weighted], [weight for _, weight in weighted]
        )
        return word

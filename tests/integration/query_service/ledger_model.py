"""A random ledger: documents for the index, made as the projector makes them, and an independent
model that answers every query by going through plain rows.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

from paycore.domain.transfers import Details
from projector.batch import Document
from projector.documents import account_document, decline_document, transfer_document

KINDS = (
    "TRANSFER", "DEPOSIT", "WITHDRAWAL", "HOLD", "CAPTURE", "RELEASE", "REFUND", "REVERSAL", "FEE",
    "NET_SETTLEMENT",
)  # fmt: skip
MOVES_NOTHING = ("HOLD", "RELEASE")
NO_CHILD: dict[str, object] = dict.fromkeys(
    ("parent_id", "parent_sequence", "parent_remaining", "parent_state", "released")
)
INSTITUTIONS = ("north", "south", "west")
CLIENTS = ("app", "loadtest", "elsewhere")
CURRENCIES = ("EUR", "JPY")
REFERENCES = (None, "rent", 'a "quoted" one', "ünïcode")
MINUTE_US = 60_000_000

_ids = count(7_000_000_000_000_000_000)


@dataclass(frozen=True, slots=True)
class AccountRow:
    id: int
    currency: str
    institution: str
    opened_by: str
    owner: str = "someone"
    balance: int = 0
    held: int = 0
    overdraft_limit: int = 0
    version: int = 0

    def document(self) -> Document:
        return account_document(
            {
                "id": self.id,
                "kind": "CUSTOMER",
                "status": "ACTIVE",
                "currency": self.currency,
                "owner": self.owner,
                "institution": self.institution,
                "opened_by": self.opened_by,
                "balance": self.balance,
                "held": self.held,
                "overdraft_limit": self.overdraft_limit,
                "version": self.version,
                "revision": 0,
                "created_at_us": 1,
            }
        )


@dataclass(frozen=True, slots=True)
class TransferRow:
    id: int
    debit: AccountRow
    credit: AccountRow
    amount: int
    created_at_us: int
    kind: str = "TRANSFER"
    client: str = "app"
    reference: str | None = None
    declined: bool = False
    debit_balance_after: int = 0
    credit_balance_after: int = 0
    debit_held_after: int = 0
    expires_at_us: int | None = None
    group_id: int | None = None
    review: str | None = None
    following: Mapping[str, object] = field(default_factory=lambda: NO_CHILD)
    """As a child: its columns from `parent_id` to `released`."""
    latest: Mapping[str, object] | None = None
    """As a parent: what its latest child says of it."""
    metadata: dict[str, str] | None = None
    user_id: str | None = None
    description: str | None = None

    def document(self) -> Document:
        row = {
            "id": self.id,
            "debit_account": self.debit.id,
            "credit_account": self.credit.id,
            "amount": self.amount,
            "created_at_us": self.created_at_us,
            "kind": self.kind,
            "currency": self.debit.currency,
            "client": self.client,
            "reference": self.reference,
            "effective_at_us": None,
            "group_id": self.group_id,
            **self.following,
            "erasures": 0,
        }
        details = Details(
            self.user_id or "", description=self.description or "", metadata=self.metadata
        )
        sides = {
            side.id: {
                "owner": side.owner,
                "institution": side.institution,
                "opened_by": side.opened_by,
            }
            for side in (self.debit, self.credit)
        }
        if self.declined:
            row |= {"reason": "INSUFFICIENT_FUNDS", "figures": '{"available": "3"}'}
            return decline_document(row, sides, details)
        row |= {
            "debit_version": 1,
            "credit_version": 1 if self.moves else None,
            "debit_balance_after": self.debit_balance_after,
            "credit_balance_after": self.credit_balance_after if self.moves else None,
            "debit_held_after": self.debit_held_after,
            "expires_at_us": self.expires_at_us,
            "review": self.review,
            "step_up": "BELOW_THRESHOLD",
            "authorization_id": None,
        }
        return transfer_document(row, sides, self.latest, details)

    @property
    def moves(self) -> bool:
        """Whether money went from one account to the other."""
        return not self.declined and self.kind not in MOVES_NOTHING

    def touches(self, account: int) -> bool:
        return account in (self.debit.id, self.credit.id)


@dataclass(slots=True)
class Ledger:
    """Rows of one era; eras are apart in time, so that sums over time do not mix."""

    random: random.Random
    start_us: int
    duration_us: int = 600 * MINUTE_US
    accounts: list[AccountRow] = field(default_factory=list)
    transfers: list[TransferRow] = field(default_factory=list)

    def documents(self) -> Iterator[Document]:
        yield from (account.document() for account in self.accounts)
        yield from (transfer.document() for transfer in self.transfers)

    def open_account(self, **fields: object) -> AccountRow:
        chosen = {
            "currency": self.random.choice(CURRENCIES),
            "institution": self.random.choice(INSTITUTIONS),
            "opened_by": self.random.choice(CLIENTS),
            **fields,
        }
        account = AccountRow(next(_ids), **chosen)  # type: ignore[arg-type]
        self.accounts.append(account)
        return account

    def move(self, debit: AccountRow, credit: AccountRow, **fields: object) -> TransferRow:
        pick = self.random
        chosen = {
            # Small amounts meet often, huge ones leave the range in which doubles are exact.
            "amount": pick.choice((pick.randint(1, 9), pick.randint(2**61, 2**62))),
            # Few different times, so that the id decides the order of many.
            "created_at_us": self.start_us + pick.randrange(0, self.duration_us, 1_234_567),
            "kind": pick.choice(KINDS),
            "client": pick.choice(CLIENTS),
            "reference": pick.choice(REFERENCES),
            "declined": pick.random() < 0.15,
            "debit_balance_after": pick.randint(-(2**63), 2**63 - 1),
            "credit_balance_after": pick.randint(-(2**63), 2**63 - 1),
            **fields,
        }
        transfer = TransferRow(next(_ids), debit, credit, **chosen)  # type: ignore[arg-type]
        self.transfers.append(transfer)
        return transfer

    def move_at_random(self, transfers: int) -> None:
        for _ in range(transfers):
            debit = self.random.choice(self.accounts)
            same = [a for a in self.accounts if a.currency == debit.currency and a is not debit]
            self.move(debit, self.random.choice(same))


def listed(
    transfers: Iterable[TransferRow],
    account: int,
    *,
    start_us: int | None = None,
    end_us: int | None = None,
    kinds: tuple[str, ...] = (),
    counterparty: int | None = None,
    low: int | None = None,
    high: int | None = None,
    reference: str | None = None,
    declines: bool = False,
) -> list[int]:
    """Ids of an account's transfers as ListTransfers must show them."""
    rules: list[Callable[[TransferRow], bool]] = [
        lambda t: t.touches(account),
        lambda t: not t.declined or (declines and t.debit.id == account),
    ]
    if start_us is not None:
        rules.append(lambda t: t.created_at_us >= start_us)
    if end_us is not None:
        rules.append(lambda t: t.created_at_us < end_us)
    if kinds:
        rules.append(lambda t: t.kind in kinds)
    if counterparty is not None:
        rules.append(lambda t: t.touches(counterparty))
    if low is not None:
        rules.append(lambda t: t.amount >= low)
    if high is not None:
        rules.append(lambda t: t.amount <= high)
    if reference is not None:
        rules.append(lambda t: t.reference == reference)
    found = [t for t in transfers if all(rule(t) for rule in rules)]
    return [t.id for t in sorted(found, key=lambda t: (t.created_at_us, t.id), reverse=True)]


def volume(
    transfers: Iterable[TransferRow],
    *,
    start_us: int,
    end_us: int,
    interval_us: int,
    kinds: tuple[str, ...] = (),
    may_see: Callable[[TransferRow], bool] = lambda _: True,
) -> dict[tuple[int, str, str], tuple[int, int]]:
    """(count, sum) by (interval's start, currency, kind) of `kinds`, or of all that moves money."""
    totals: dict[tuple[int, str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for t in transfers:
        counts = (not t.declined and t.kind in kinds) if kinds else t.moves
        if counts and start_us <= t.created_at_us < end_us and may_see(t):
            key = (t.created_at_us // interval_us * interval_us, t.debit.currency, t.kind)
            number, total = totals[key]
            totals[key] = (number + 1, total + t.amount)
    return dict(totals)


def counterparties(
    transfers: Iterable[TransferRow], account: int
) -> list[tuple[int, int, int, int]]:
    """(account, count, sent, received), most money first."""
    totals: dict[int, tuple[int, int, int]] = defaultdict(lambda: (0, 0, 0))
    for t in transfers:
        if not t.moves or not t.touches(account):
            continue
        sends = t.debit.id == account
        other = t.credit.id if sends else t.debit.id
        number, sent, received = totals[other]
        totals[other] = (
            number + 1,
            sent + (t.amount if sends else 0),
            received + (0 if sends else t.amount),
        )
    rows = [(other, *figures) for other, figures in totals.items()]
    return sorted(rows, key=lambda row: (-(row[2] + row[3]), row[0]))

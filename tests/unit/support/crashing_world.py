"""A small ledger and its clients, in which everything is right: to be made wrong by tests."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tests.support.crashing.checker import as_told
from tests.support.crashing.history import History, Leg, Operation, Reply, Verdict
from tests.support.crashing.tables import Account, Decline, Journaled, Key, Tables, Transfer

CLIENT = "shop"
OUTSIDE, ANN, BOB = 1, 2, 3
DEPOSIT = 10
"""The transfer that was there before the first command."""

SIGNS = {"HOLD": (0, 1), "RELEASE": (0, -1)}
"""By how much kinds change the payer's balance and what is held; others move the amount."""


@dataclass
class World:
    """What clients were told, what the tables hold, and what was there before."""

    history: History
    tables: Tables
    before: frozenset[int] = frozenset({DEPOSIT})

    def operation(self, key: str) -> Operation:
        """The command under `key`."""
        return next(one for one in self.history if one.key == key)

    def change(self, transfer: int, **changes: object) -> None:
        """Falsify a row: `changes` are any of its fields, which types cannot say."""
        self.tables.transfers = [
            replace(row, **changes) if row.id == transfer else row  # type: ignore[arg-type]
            for row in self.tables.transfers
        ]

    def change_account(self, account: int, **changes: object) -> None:
        """Falsify an account, in any of its fields, as above."""
        self.tables.accounts = [
            replace(row, **changes) if row.id == account else row  # type: ignore[arg-type]
            for row in self.tables.accounts
        ]

    def without(self, transfer: int) -> None:
        """Lose a row, with no other trace of it."""
        self.tables.transfers = [row for row in self.tables.transfers if row.id != transfer]


@dataclass
class Bookkeeper:
    """Posts as a ledger does."""

    tables: Tables = field(default_factory=Tables)
    figures: dict[int, list[int]] = field(default_factory=dict)
    """Balance, held and version of each account."""
    left: dict[int, tuple[Transfer, int, int]] = field(default_factory=dict)
    """Each transfer, what is left of it, and how many have followed it."""

    def post(
        self,
        number: int,
        kind: str,
        debit: int,
        credit: int,
        amount: int,
        reference: str | None = None,
        parent: int | None = None,
        parent_state: str | None = None,
        group: int | None = None,
    ) -> Transfer:
        """Post one transfer."""
        payer, payee = (self.figures.setdefault(one, [0, 0, 0]) for one in (debit, credit))
        moves, holds = SIGNS.get(kind, (-1, -1 if kind == "CAPTURE" else 0))
        payer[0] += moves * amount
        payer[1] += holds * amount
        payer[2] += 1
        if moves:
            payee[0] += amount
            payee[2] += 1
        sequence = remaining = None
        if parent is not None:
            first, left, children = self.left[parent]
            sequence, remaining = children + 1, left - amount
            self.left[parent] = (first, remaining, sequence)
        row = Transfer(
            number, kind, debit, credit, amount, "EUR", CLIENT, reference,
            payer[2], payee[2] if moves else None, payer[0], payee[0] if moves else None, payer[1],
            1_000 + number, parent, sequence, remaining, parent_state, None, group,
            "NOT_APPLICABLE", None, 9_000 if kind == "HOLD" else None,
        )  # fmt: skip
        self.left[number] = (row, amount, 0)
        self.tables.transfers.append(row)
        if group is None:
            self.tables.keys.append(Key(CLIENT, reference or "opening", "TRANSFER", number))
        self.tables.journal.append(Journaled(100 + number, 1, (number,), ()))
        return row

    def close(self) -> Tables:
        """The tables, with the accounts as they stand."""
        last = {
            account: max(
                row.created_at_us
                for row in self.tables.transfers
                if account == row.debit or (account == row.credit and row.credit_version)
            )
            for account in self.figures
        }
        self.tables.accounts = [
            Account(
                account, "EXTERNAL" if account == OUTSIDE else "CUSTOMER", "EUR",
                balance, held, 0, version, last[account],
            )
            for account, (balance, held, version) in self.figures.items()
        ]  # fmt: skip
        return self.tables


def told(*rows: Transfer, began_s: float, replayed: bool = False) -> Reply:
    """A reply that shows `rows` as they are."""
    transfers = tuple(as_told(row) for row in rows)
    return Reply(
        began_s,
        began_s + 0.5,
        Verdict.POSTED,
        transfers=transfers,
        replayed=replayed,
        body=repr(transfers).encode(),
    )


def unheard(began_s: float) -> Reply:
    """An attempt of which nothing came back."""
    return Reply(began_s, began_s + 0.5, Verdict.UNHEARD, reason="UNAVAILABLE")


def right_world() -> World:
    """One command of each sort, and each way in which a client may learn of it, or not."""
    book, history = Bookkeeper(), History()

    def asked(key: str, command: str, legs: list[Leg], parent: int = 0) -> Operation:
        return history.begin(Operation(CLIENT, key, command, tuple(legs), parent))

    def done(key: str, kind: str, row: Transfer, amount: int | None) -> None:
        leg = Leg(kind, row.debit, row.credit, amount)
        operation = asked(key, kind, [leg], row.parent or 0)
        history.note(operation, unheard(row.id))
        history.note(operation, told(row, began_s=row.id + 1))
        history.note(operation, told(row, began_s=row.id + 2, replayed=True))

    book.post(DEPOSIT, "DEPOSIT", OUTSIDE, ANN, 100)
    done("paid", "TRANSFER", book.post(11, "TRANSFER", ANN, BOB, 30, "paid"), 30)
    done("held", "HOLD", book.post(12, "HOLD", ANN, BOB, 20, "held"), 20)
    capture = book.post(13, "CAPTURE", ANN, BOB, 15, "taken", 12, "PARTIALLY_CAPTURED")
    done("taken", "CAPTURE", capture, 15)
    done("freed", "RELEASE", book.post(14, "RELEASE", ANN, BOB, 5, "freed", 12, "RELEASED"), None)
    refund = book.post(15, "REFUND", BOB, ANN, 10, "back", 11, "PARTIALLY_REFUNDED")
    done("back", "REFUND", refund, 10)
    done("open", "HOLD", book.post(16, "HOLD", ANN, BOB, 7, "open"), 7)
    legs = [Leg("TRANSFER", ANN, BOB, 1), Leg("TRANSFER", BOB, ANN, 2)]
    pair = [
        book.post(21, "TRANSFER", ANN, BOB, 1, "pair", group=20),
        book.post(22, "TRANSFER", BOB, ANN, 2, "pair", group=20),
    ]
    book.tables.keys.append(Key(CLIENT, "pair", "GROUP", 20))
    history.note(asked("pair", "GROUP", legs), told(*pair, began_s=21))
    refused = Decline(
        30,
        "TRANSFER",
        ANN,
        BOB,
        999,
        "EUR",
        CLIENT,
        "poor",
        "INSUFFICIENT_FUNDS",
        1_030,
        None,
        None,
    )
    book.tables.declines.append(refused)
    book.tables.keys.append(Key(CLIENT, "poor", "DECLINE", 30))
    book.tables.journal.append(Journaled(130, 1, (), (30,)))
    reply = Reply(30, 30.5, Verdict.DECLINED, decline=30, reason="INSUFFICIENT_FUNDS", body=b"poor")
    history.note(asked("poor", "SINGLE", [Leg("TRANSFER", ANN, BOB, 999)]), reply)
    silent = book.post(31, "TRANSFER", BOB, ANN, 3, "silent")
    operation = asked("silent", "SINGLE", [Leg("TRANSFER", BOB, ANN, 3)])
    history.note(operation, unheard(31))
    operation.looked_up = told(silent, began_s=50, replayed=True)
    operation = asked("never", "SINGLE", [Leg("TRANSFER", BOB, ANN, 4)])
    history.note(operation, unheard(32))
    operation.looked_up = Reply(50, 50.1, Verdict.NOT_FOUND)
    wrong = Reply(33, 33.5, Verdict.REFUSED, reason="PIN_INCORRECT")
    history.note(asked("wrong", "BY_PIN", [Leg("TRANSFER", BOB, ANN, 5)]), wrong)
    tables = book.close()
    tables.open_holds = {16: 7}
    return World(history, tables)

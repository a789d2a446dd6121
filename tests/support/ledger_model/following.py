"""Whether a transfer may be captured, released, refunded or reversed, and where that puts it."""

from __future__ import annotations

from tests.support.ledger_model.asked import Following
from tests.support.ledger_model.books import Books
from tests.support.ledger_model.paying import need_funds, need_grant, need_open, post
from tests.support.ledger_model.told import Movement, NoError

OPEN = ("HELD", "PARTIALLY_CAPTURED")

PARENTS = {
    "CAPTURE": ("HOLD",),
    "RELEASE": ("HOLD",),
    "REFUND": ("TRANSFER", "CAPTURE", "FEE"),
    "REVERSAL": ("TRANSFER", "DEPOSIT", "WITHDRAWAL", "CAPTURE", "FEE", "NET_SETTLEMENT"),
}

KINDS = {"APPROVE": "CAPTURE", "REFUSE": "RELEASE", "EXPIRE": "RELEASE"}
"""Every other wish is a kind itself."""

REVIEWS = ("APPROVE", "REFUSE")
"""What settles a review."""

HOUSEKEEPER = "paycore/expiry"
"""In whose name holds expire; it needs no grant for that."""


def follow(books: Books, asked: Following, now_us: int) -> Movement:
    """Post `asked`; raises NoError where a rule forbids it."""
    parent = find(books, asked.parent)
    kind = KINDS.get(asked.wish, asked.wish)
    back = kind in ("REFUND", "REVERSAL")
    debit, credit = (parent.credit, parent.debit) if back else (parent.debit, parent.credit)
    review = asked.wish in REVIEWS
    if asked.wish != "EXPIRE":
        need_grant(books, asked.client, "REVIEW" if review else kind, debit)
        if kind == "REFUND" and books.accounts[debit].outside:
            need_grant(books, asked.client, "DEPOSIT", debit)
    if parent.kind not in PARENTS[kind]:
        raise NoError("ILLEGAL_STATE")
    if not back and review != (parent.review is not None):
        raise NoError("ILLEGAL_STATE")
    if asked.currency not in (None, parent.currency):
        raise NoError("CURRENCY_MISMATCH")
    amount = _amount(books, asked, parent, kind, now_us)
    if kind != "RELEASE":
        need_open(books, debit, credit)
    if back:
        need_funds(books, debit, amount)
    left = books.remaining(parent) - amount
    released = left if kind == "CAPTURE" and asked.final and left else None
    left -= released or 0
    return post(
        books,
        kind,
        asked.client,
        debit,
        credit,
        amount,
        now_us,
        parent=parent.number,
        parent_sequence=len(books.children(parent)) + 1,
        parent_remaining=left,
        parent_state=_state(books, asked, parent, left, now_us),
        released=released,
    )


def find(books: Books, number: int) -> Movement:
    """The transfer with that number."""
    if not 1 <= number <= len(books.movements):
        raise NoError("TRANSFER_NOT_FOUND", id=number)
    return books.movements[number - 1]


def _amount(books: Books, asked: Following, parent: Movement, kind: str, now_us: int) -> int:
    left, state = books.remaining(parent), books.state(parent)
    if kind in ("CAPTURE", "RELEASE") and state not in OPEN:
        # Nobody waits for the housekeeper's answer: it is not remembered.
        raise NoError("ILLEGAL_STATE" if asked.wish == "EXPIRE" else "HOLD_NOT_OPEN")
    if kind == "CAPTURE" and _expired(books, parent, now_us):
        raise NoError("HOLD_NOT_OPEN")
    if state == "REVERSED" or (kind == "REVERSAL" and state != "POSTED"):
        raise NoError("ILLEGAL_STATE")
    amount = left if asked.amount is None else asked.amount
    if amount > left or amount == 0:
        raise NoError("EXCEEDS_REMAINING")
    return amount


def _state(books: Books, asked: Following, parent: Movement, left: int, now_us: int) -> str:
    match asked.wish:
        case "REFUSE":
            return "ROLLED_BACK"
        case "RELEASE" | "EXPIRE":
            return "EXPIRED" if _expired(books, parent, now_us) else "RELEASED"
        case "REVERSAL":
            return "REVERSED"
        case "REFUND":
            return "PARTIALLY_REFUNDED" if left else "REFUNDED"
        case _:
            return "PARTIALLY_CAPTURED" if left else "CAPTURED"


def _expired(books: Books, hold: Movement, now_us: int) -> bool:
    """By the time that what follows the hold would bear."""
    time_us = books.time(now_us, hold.debit, hold.credit)
    return hold.expires_us is not None and time_us >= hold.expires_us

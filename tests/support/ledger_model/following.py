"""Whether a transfer may be captured, released, refunded or reversed, and where that puts it."""

from __future__ import annotations

from tests.support.ledger_model.asked import Following
from tests.support.ledger_model.books import Books
from tests.support.ledger_model.paying import (
    need_funds,
    need_grant,
    need_open,
    need_room,
    post,
)
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


def follow(books: Books, asked: Following, now_us: int, tables_us: int) -> Movement:
    """Post `asked`; raises NoError where a rule forbids it.

    `tables_us` is the time by the clock of the tables, for what expires.
    """
    parent = find_seen(books, asked)
    kind = KINDS.get(asked.wish, asked.wish)
    back = kind in ("REFUND", "REVERSAL")
    debit, credit = (parent.credit, parent.debit) if back else (parent.debit, parent.credit)
    review = asked.wish in REVIEWS
    if asked.wish != "EXPIRE":
        need_grant(books, asked.client, "REVIEW" if review else kind, debit)
        if back and books.accounts[debit].outside:
            need_grant(books, asked.client, "DEPOSIT", debit)
        if back and books.accounts[credit].outside:
            need_grant(books, asked.client, "WITHDRAWAL", debit)
    if parent.kind not in PARENTS[kind]:
        raise NoError("ILLEGAL_STATE")
    if not back and review != (parent.review is not None):
        raise NoError("ILLEGAL_STATE")
    if asked.currency not in (None, parent.currency):
        raise NoError("CURRENCY_MISMATCH")
    left, state = books.remaining(parent), books.state(parent)
    if back and (state == "REVERSED" or (kind == "REVERSAL" and state != "POSTED")):
        raise NoError("ILLEGAL_STATE")
    over = _is_over(parent, now_us) and _is_over(parent, tables_us)
    if asked.wish == "EXPIRE" and (state not in OPEN or not over):
        # Nobody waits for the housekeeper's answer: it is not remembered.
        raise NoError("ILLEGAL_STATE")
    amount = left if asked.amount is None else asked.amount
    if kind != "RELEASE":
        need_room(books, debit, credit, amount)
    # From here on it is remembered.
    if not back and state not in OPEN:
        raise NoError("HOLD_NOT_OPEN", id=parent.number, state=state)
    if kind == "CAPTURE" and _is_over(parent, books.time(now_us, debit, credit)):
        raise NoError("HOLD_NOT_OPEN", id=parent.number, state="EXPIRED")
    if amount > left or amount == 0:
        raise NoError("EXCEEDS_REMAINING", id=parent.number, remaining=left, requested=amount)
    if kind != "RELEASE":
        need_open(books, debit, credit)
    if back:
        need_funds(books, debit, amount)
    left -= amount
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
        parent_state=_state(asked.wish, left, over=over),
        released=released,
    )


def find(books: Books, number: int) -> Movement:
    """The transfer with that number."""
    if not 1 <= number <= len(books.movements):
        raise NoError("TRANSFER_NOT_FOUND", id=number)
    return books.movements[number - 1]


def find_seen(books: Books, asked: Following) -> Movement:
    """The transfer to be followed; to those who neither made it nor may read its accounts, none."""
    parent = find(books, asked.parent)
    seen = any(books.allows(asked.client, "READ", one) for one in (parent.debit, parent.credit))
    if not seen and asked.client != parent.client and asked.wish != "EXPIRE":
        raise NoError("TRANSFER_NOT_FOUND", id=asked.parent)
    return parent


def _state(wish: str, left: int, *, over: bool) -> str:
    match wish:
        case "REFUSE":
            return "ROLLED_BACK"
        case "RELEASE" | "EXPIRE":
            return "EXPIRED" if over else "RELEASED"
        case "REVERSAL":
            return "REVERSED"
        case "REFUND":
            return "PARTIALLY_REFUNDED" if left else "REFUNDED"
        case _:
            return "PARTIALLY_CAPTURED" if left else "CAPTURED"


def _is_over(hold: Movement, time_us: int) -> bool:
    """Whether the time of the hold is up by that clock."""
    return hold.expires_us is not None and time_us >= hold.expires_us

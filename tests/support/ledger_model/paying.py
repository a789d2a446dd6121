"""Whether money may be moved or set aside, and what that leaves."""

from __future__ import annotations

from tests.support.ledger_model.asked import Payment
from tests.support.ledger_model.books import DAY_US, HIGHEST, LOWEST, Books, ModelAccount
from tests.support.ledger_model.told import Movement, NoError

OUTSIDE = {
    "TRANSFER": (False, False),
    "DEPOSIT": (True, False),
    "WITHDRAWAL": (False, True),
    "FEE": (False, False),
    "NET_SETTLEMENT": (False, False),
}
"""Whether the payer and the payee of each kind stand for the world outside."""

BY_THE_PAYER = ("TRANSFER", "WITHDRAWAL", "HOLD")
"""What a payer sets in motion."""

APPROVED = (*BY_THE_PAYER, "FEE", "NET_SETTLEMENT")
"""What a payer must approve above the threshold."""

LONGEST_HOLD_US = 366 * 24 * 3600 * 1_000_000


def pay(
    books: Books,
    asked: Payment,
    now_us: int,
    group: int | None = None,
    together: tuple[Payment, ...] = (),
) -> Movement:
    """Post `asked`, one of those of its group; raises NoError where a rule forbids it."""
    payer, payee = _both_accounts(books, asked)
    need_grant(books, asked.client, asked.kind, asked.debit)
    if asked.kind == "HOLD" and payee.outside:
        need_grant(books, asked.client, "WITHDRAWAL", asked.debit)
    wanted = (False, payee.outside) if asked.kind == "HOLD" else OUTSIDE[asked.kind]
    if (payer.outside, payee.outside) != wanted:
        raise NoError("ACCOUNT_KIND_MISMATCH")
    if {payer.currency, payee.currency} != {asked.currency}:
        raise NoError("CURRENCY_MISMATCH")
    need_version(books, asked.client, asked.debit, asked.expected_debit_version)
    need_version(books, asked.client, asked.credit, asked.expected_credit_version)
    if asked.expires_us is not None:
        made_us = books.time(now_us, asked.debit, asked.credit)
        if asked.expires_us <= made_us or asked.expires_us > now_us + LONGEST_HOLD_US:
            raise NoError("INVALID_FIELD")
    basis = _basis(books, asked, now_us, group, together or (asked,))
    decision, rule = asked.verdict or ("APPROVE", "")
    held = asked.kind == "HOLD" or decision == "REVIEW"
    if held:
        need_room_to_hold(books, asked.debit, asked.amount)
    else:
        need_room(books, asked.debit, asked.credit, asked.amount)
    if group is not None and decision == "REVIEW":
        # What waits for someone's word cannot be posted together with what does not.
        raise NoError("RISK_DECLINED", rule=rule)
    need_open(books, asked.debit, asked.credit)
    if decision == "DECLINE":
        raise NoError("RISK_DECLINED", rule=rule)
    need_funds(books, asked.debit, asked.amount)
    return post(
        books,
        "HOLD" if held else asked.kind,
        asked.client,
        asked.debit,
        asked.credit,
        asked.amount,
        now_us,
        basis=basis,
        reference=asked.reference,
        expires_us=asked.expires_us,
        group=group,
        review=rule if decision == "REVIEW" else None,
    )


def post(
    books: Books,
    kind: str,
    client: str,
    debit: int,
    credit: int,
    amount: int,
    now_us: int,
    *,
    basis: str = "NOT_APPLICABLE",
    reference: str | None = None,
    parent: int | None = None,
    parent_sequence: int | None = None,
    parent_remaining: int | None = None,
    parent_state: str | None = None,
    released: int | None = None,
    expires_us: int | None = None,
    group: int | None = None,
    review: str | None = None,
) -> Movement:
    """Write down that it happened, with what it leaves on both accounts."""
    moves = kind not in ("HOLD", "RELEASE")
    held_change = {"HOLD": amount, "RELEASE": -amount, "CAPTURE": -amount - (released or 0)}
    movement = Movement(
        number=len(books.movements) + 1,
        kind=kind,
        debit=debit,
        credit=credit,
        amount=amount,
        currency=books.accounts[debit].currency,
        client=client,
        basis=basis,
        debit_version=books.version(debit) + 1,
        credit_version=books.version(credit) + 1 if moves else None,
        debit_balance=books.balance(debit) - (amount if moves else 0),
        credit_balance=books.balance(credit) + amount if moves else None,
        debit_held=books.held(debit) + held_change.get(kind, 0),
        debit_seen=books.allows(client, "READ", debit),
        credit_seen=books.allows(client, "READ", credit),
        created_us=books.time(now_us, debit, credit),
        reference=reference,
        parent=parent,
        parent_sequence=parent_sequence,
        parent_remaining=parent_remaining,
        parent_state=parent_state,
        released=released,
        expires_us=expires_us,
        group=group,
        review=review,
    )
    books.movements.append(movement)
    return movement


def need_grant(books: Books, client: str, action: str, account: int) -> None:
    if not books.allows(client, action, account):
        raise NoError("NOT_PERMITTED", account=account, grant=action)


def need_version(books: Books, client: str, account: int, expected: int | None) -> None:
    actual = books.version(account)
    if expected not in (None, actual):
        shown = actual if books.allows(client, "READ", account) else None
        raise NoError("VERSION_MISMATCH", account=account, expected=expected, actual=shown)


def need_open(books: Books, debit: int, credit: int) -> None:
    """A CLOSED account does nothing, a FROZEN one is not debited."""
    for number in (debit, credit):
        if books.accounts[number].status == "CLOSED":
            raise NoError("ACCOUNT_CLOSED", account=number)
    if books.accounts[debit].status == "FROZEN":
        raise NoError("ACCOUNT_FROZEN", account=debit)


def need_funds(books: Books, account: int, amount: int) -> None:
    owner = books.accounts[account]
    available = books.available(account)
    if not owner.outside and amount > available:
        raise NoError(
            "INSUFFICIENT_FUNDS",
            account=account,
            currency=owner.currency,
            available=available,
            requested=amount,
        )


def need_room(books: Books, debit: int, credit: int, amount: int) -> None:
    if books.balance(debit) - amount < LOWEST or books.balance(credit) + amount > HIGHEST:
        raise NoError("BALANCE_OVERFLOW")


def need_room_to_hold(books: Books, account: int, amount: int) -> None:
    if books.held(account) + amount > HIGHEST:
        raise NoError("BALANCE_OVERFLOW")


def _both_accounts(books: Books, asked: Payment) -> tuple[ModelAccount, ModelAccount]:
    if asked.debit == asked.credit:
        raise NoError("SAME_ACCOUNT")
    for number in (asked.debit, asked.credit):
        if number not in books.accounts:
            raise NoError("ACCOUNT_NOT_FOUND", id=number)
    return books.accounts[asked.debit], books.accounts[asked.credit]


def _basis(
    books: Books, asked: Payment, now_us: int, group: int | None, together: tuple[Payment, ...]
) -> str:
    """Why the payer need not approve; what they pay by one group counts as one payment."""
    if asked.kind not in APPROVED:
        return "NOT_APPLICABLE"
    own = [
        one
        for one in together
        if one.kind in APPROVED and (one.debit, one.currency) == (asked.debit, asked.currency)
    ]
    total = sum(one.amount for one in own)
    payees: dict[int, int] = {}
    for one in own:
        if one.kind in BY_THE_PAYER:
            payees[one.credit] = payees.get(one.credit, 0) + one.amount
    above = books.thresholds.get(asked.currency, -1)
    first_above = books.first_thresholds.get(asked.currency)
    daily = books.daily_totals.get(asked.currency)
    large = first_above is not None and max(payees.values(), default=0) > first_above
    if total <= above and not large and daily is None:
        return "BELOW_THRESHOLD"
    if books.allows(asked.client, "STEP_UP_EXEMPT", asked.debit):
        return "CLIENT_EXEMPT"
    if asked.currency not in books.thresholds:
        raise NoError("STEP_UP_REQUIRED", rule="NO_POLICY")
    if total > above:
        raise NoError("STEP_UP_REQUIRED", rule="THRESHOLD", threshold=above)
    if not payees:
        # The past asks nothing of what the payer does not set in motion.
        return "BELOW_THRESHOLD"
    for payee, amount in payees.items():
        new = not books.has_paid(asked.debit, payee, but=group)
        if first_above is not None and amount > first_above and new:
            raise NoError("STEP_UP_REQUIRED", rule="FIRST_PAYMENT", threshold=first_above)
    day = books.time(now_us, asked.debit, asked.credit) // DAY_US
    if daily is not None and total + books.unapproved(asked.debit, day, but=group) > daily:
        raise NoError("STEP_UP_REQUIRED", rule="DAILY_TOTAL", threshold=daily)
    return "BELOW_THRESHOLD"

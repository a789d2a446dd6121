"""The model's requests as the domain's commands, and the domain's outcomes in the model's words."""

from __future__ import annotations

from typing import assert_never

from paycore.domain.accounts import AccountId
from paycore.domain.money import Currency, Minor
from paycore.domain.transfers import (
    ChildCommand,
    Command,
    Declined,
    GroupCommand,
    GroupPosted,
    Outcome,
    Posted,
    Refused,
    RiskDecision,
    RiskVerdict,
    TransferCommand,
    TransferId,
    TransferKind,
    TransferState,
)
from tests.support.ledger_model import asked as asking
from tests.support.ledger_model import told as telling
from tests.support.ledger_model.books import Books
from tests.support.ledger_model.following import KINDS, REVIEWS, find
from tests.support.ledger_model.likeness import Names


def command(asked: asking.Command, books: Books, names: Names) -> Command:
    """The domain's command; the parent that it may follow must exist."""
    match asked:
        case asking.Payment():
            return _payment(asked, names)
        case asking.Together():
            return GroupCommand(
                asked.client,
                asked.key,
                repr(asked.body).encode(),
                tuple(_payment(item, names)._replace(request_hash=b"") for item in asked.items),
            )
        case asking.Following():
            return _following(asked, books, names)
        case _:
            assert_never(asked)


def told(outcome: Outcome, expected: telling.Told, names: Names) -> telling.Told:
    """`outcome` in the model's words; new ids are learnt from what is `expected` of it."""
    match outcome:
        case Posted():
            if isinstance(expected, telling.Moved):
                names.posted(expected.movement.number, outcome.transfer.id)
            return telling.Moved(_movement(outcome, names), outcome.replayed)
        case GroupPosted():
            if isinstance(expected, telling.AllMoved):
                for one, other in zip(expected.movements, outcome.transfers, strict=True):
                    names.posted(one.number, other.transfer.id)
                names.grouped(expected.movements[0].number, outcome.id)
            return telling.AllMoved(
                tuple(_movement(one, names) for one in outcome.transfers), outcome.replayed
            )
        case Declined():
            row = outcome.decline
            return telling.Declined(
                row.reason,
                row.kind.value,
                _number(names.accounts, row.debit_account),
                _number(names.accounts, row.credit_account),
                row.amount,
                outcome.payer_readable,
                None if row.parent_id is None else _number(names.transfers, row.parent_id),
                names.figures(row.figures),
                outcome.replayed,
            )
        case Refused():
            error = outcome.error
            return telling.Refused(error.reason.value, names.figures(error.metadata))
        case _:
            assert_never(outcome)


def _payment(asked: asking.Payment, names: Names) -> TransferCommand:
    verdict = asked.verdict and RiskVerdict(RiskDecision(asked.verdict[0]), asked.verdict[1])
    return TransferCommand(
        client=asked.client,
        key=asked.key,
        request_hash=repr(asked.body).encode(),
        kind=TransferKind(asked.kind),
        debit_account=AccountId(names.account(asked.debit)),
        credit_account=AccountId(names.account(asked.credit)),
        amount=Minor(asked.amount),
        currency=Currency(asked.currency),
        reference=asked.reference,
        expected_debit_version=asked.expected_debit_version,
        expected_credit_version=asked.expected_credit_version,
        expires_at_us=asked.expires_us,
        risk=verdict,
    )


def _following(asked: asking.Following, books: Books, names: Names) -> ChildCommand:
    parent = find(books, asked.parent)
    debit, credit = parent.debit, parent.credit
    if asked.wish in ("REFUND", "REVERSAL"):
        debit, credit = credit, debit
    ends = {"REFUSE": TransferState.ROLLED_BACK, "EXPIRE": TransferState.EXPIRED}
    return ChildCommand(
        client=asked.client,
        key=asked.key,
        request_hash=repr(asked.body).encode(),
        kind=TransferKind(KINDS.get(asked.wish, asked.wish)),
        parent=TransferId(names.transfer(parent.number)),
        debit_account=AccountId(names.account(debit)),
        credit_account=AccountId(names.account(credit)),
        currency=Currency(parent.currency),
        amount=None if asked.amount is None else Minor(asked.amount),
        asked_currency=None if asked.currency is None else Currency(asked.currency),
        final=asked.final,
        review=asked.wish in REVIEWS,
        released_as=ends.get(asked.wish, TransferState.RELEASED),
    )


def _movement(outcome: Posted, names: Names) -> telling.Movement:
    row = outcome.transfer
    state = row.parent_state
    return telling.Movement(
        number=_number(names.transfers, row.id),
        kind=row.kind.value,
        debit=_number(names.accounts, row.debit_account),
        credit=_number(names.accounts, row.credit_account),
        amount=row.amount,
        currency=row.currency,
        client=row.client,
        basis=row.step_up.value,
        debit_version=row.debit_version,
        credit_version=row.credit_version,
        debit_balance=row.debit_balance_after,
        credit_balance=row.credit_balance_after,
        debit_held=row.debit_held_after,
        debit_seen=outcome.visible.debit,
        credit_seen=outcome.visible.credit,
        created_us=row.created_at_us,
        reference=row.reference,
        parent=None if row.parent_id is None else _number(names.transfers, row.parent_id),
        parent_sequence=row.parent_sequence,
        parent_remaining=row.parent_remaining,
        parent_state=None if state is None else state.value,
        released=row.released,
        expires_us=row.expires_at_us,
        group=None if row.group_id is None else _number(names.groups, row.group_id),
        review=row.review,
    )


def _number(names: dict[int, int], wanted: int) -> int:
    """The model's number of an id; 0 where it has none."""
    return next((number for number, one in names.items() if one == wanted), 0)

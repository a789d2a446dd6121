"""What is written of what follows a transfer, and of what is declined: every field of it."""

from __future__ import annotations

from typing import Any

import pytest

from paycore.domain.accounts import AccountStatus
from paycore.domain.grants import GrantAction, GrantScope
from paycore.domain.money import Minor
from paycore.domain.plan import KeyRow, OutcomeKind, ParentState, Plan
from paycore.domain.transfers import (
    Declined,
    Details,
    Posted,
    StepUpBasis,
    Transfer,
    TransferKind,
    TransferState,
    Visibility,
)
from tests.support.samples import (
    CLIENT,
    NOW_US,
    account,
    approved_payment,
    child,
    command,
    group,
    parent,
    plan,
    rules,
)

DETAILS = Details(user_id="u", description="why")
PAYER = account(1, version=5, held=Minor(100), last_entry_us=NOW_US + 4)
PAYEE = account(2, version=8, balance=Minor(70))
SAID: dict[str, Any] = {"reference": "r-9", "details": DETAILS, "details_hash": b"h"}


def of_child(kind: TransferKind, **changes: Any) -> dict[str, Any]:
    """Transfer 1 that follows 900 under the client, with what the caller said of it."""
    values: dict[str, Any] = {
        "id": 1,
        "created_at_us": NOW_US + 5,
        "effective_at_us": None,
        "authorization_id": None,
        "kind": kind,
        "step_up": StepUpBasis.NOT_APPLICABLE,
        "currency": "EUR",
        "client": CLIENT,
        "reference": "r-9",
        "details_hash": b"h",
        "parent_id": 900,
        "parent_sequence": 4,
        "released": None,
        "expires_at_us": None,
        "group_id": None,
        "review": None,
    }
    return {**values, **changes}


FORWARD = {"debit_account": 1, "credit_account": 2, "debit_version": 6}
BACK = {"debit_account": 2, "credit_account": 1, "debit_version": 9, "credit_version": 6}


@pytest.mark.parametrize(
    ("kind", "amount", "final", "followed", "written"),
    [
        (
            TransferKind.CAPTURE,
            60,
            True,
            parent(TransferKind.HOLD, 100, children=3),
            {
                **FORWARD,
                "amount": 60,
                "credit_version": 9,
                "debit_balance_after": 940,
                "credit_balance_after": 130,
                "debit_held_after": 0,
                "parent_remaining": 0,
                "parent_state": TransferState.CAPTURED,
                "released": 40,
            },
        ),
        (
            TransferKind.CAPTURE,
            60,
            False,
            parent(TransferKind.HOLD, 100, children=3),
            {
                **FORWARD,
                "amount": 60,
                "credit_version": 9,
                "debit_balance_after": 940,
                "credit_balance_after": 130,
                "debit_held_after": 40,
                "parent_remaining": 40,
                "parent_state": TransferState.PARTIALLY_CAPTURED,
            },
        ),
        (
            TransferKind.RELEASE,
            None,
            True,
            parent(TransferKind.HOLD, 100, children=3),
            {
                **FORWARD,
                "amount": 100,
                "credit_version": None,
                "debit_balance_after": 1_000,
                "credit_balance_after": None,
                "debit_held_after": 0,
                "parent_remaining": 0,
                "parent_state": TransferState.RELEASED,
            },
        ),
        (
            TransferKind.REFUND,
            30,
            True,
            parent(TransferKind.TRANSFER, 100, children=3),
            {
                **BACK,
                "amount": 30,
                "debit_balance_after": 40,
                "credit_balance_after": 1_030,
                "debit_held_after": 0,
                "parent_remaining": 70,
                "parent_state": TransferState.PARTIALLY_REFUNDED,
            },
        ),
        (
            TransferKind.REVERSAL,
            None,
            True,
            parent(TransferKind.TRANSFER, 70, children=3),
            {
                **BACK,
                "amount": 70,
                "debit_balance_after": 0,
                "credit_balance_after": 1_070,
                "debit_held_after": 0,
                "parent_remaining": 0,
                "parent_state": TransferState.REVERSED,
            },
        ),
    ],
    ids=["capture", "capture in part", "release", "refund", "reversal"],
)
def test_what_follows_a_transfer_is_written_whole(
    kind: TransferKind,
    amount: int | None,
    final: bool,
    followed: ParentState,
    written: dict[str, Any],
) -> None:
    asked = child(kind, amount, final=final, **SAID)
    planned = plan([PAYER, PAYEE], [asked], parents=[followed])
    (outcome,) = planned.outcomes
    assert isinstance(outcome, Posted), outcome
    assert outcome.transfer._asdict() == of_child(kind, **written)
    assert outcome.details == DETAILS
    assert outcome.visible == Visibility(debit=True, credit=True)
    assert planned.transfers == [outcome.transfer]
    assert planned.details == [(outcome.transfer.id, DETAILS)]
    assert planned.keys == [
        KeyRow(CLIENT, asked.key, outcome.transfer.id, OutcomeKind.TRANSFER, asked.request_hash)
    ]


def test_nothing_is_written_of_personal_data_that_was_not_told() -> None:
    asked = child(TransferKind.REFUND, 30)
    planned = plan([PAYER, PAYEE], [asked], parents=[parent()])
    (outcome,) = planned.outcomes
    assert isinstance(outcome, Posted)
    assert outcome.details is None
    assert planned.details == []


def test_who_asks_sees_of_what_follows_only_what_it_may_read() -> None:
    may = [
        ("rival", GrantAction.REFUND, GrantScope.ALL, ""),
        ("rival", GrantAction.READ, GrantScope.INSTITUTION, "left"),
    ]
    accounts = [account(1, institution="left"), account(2, institution="right")]
    asked = child(TransferKind.REFUND, 30, client="rival")
    (outcome,) = plan(accounts, [asked], rules(*may), parents=[parent()]).outcomes
    assert isinstance(outcome, Posted)
    assert outcome.transfer.client == "rival"
    assert outcome.visible == Visibility(debit=False, credit=True)


def declined(planned: Plan) -> Declined:
    outcome = planned.outcomes[0]
    assert isinstance(outcome, Declined), outcome
    assert planned.declines == [outcome.decline]
    assert planned.details == [(outcome.decline.id, DETAILS)]
    assert outcome.details == DETAILS
    return outcome


def test_a_declined_transfer_is_written_whole() -> None:
    asked = command(1, 2, 901, effective_at_us=12, kind=TransferKind.TRANSFER, **SAID)
    planned = plan([PAYER, PAYEE], [asked])
    assert declined(planned).decline._asdict() == {
        "id": 1,
        "debit_account": 1,
        "credit_account": 2,
        "amount": 901,
        "created_at_us": NOW_US,
        "effective_at_us": 12,
        "kind": TransferKind.TRANSFER,
        "currency": "EUR",
        "client": CLIENT,
        "reason": "INSUFFICIENT_FUNDS",
        "figures": {
            "account": "1",
            "currency": "EUR",
            "available": "900",
            "requested": "901",
        },
        "reference": "r-9",
        "details_hash": b"h",
        "parent_id": None,
        "group_id": None,
    }
    assert planned.keys == [KeyRow(CLIENT, asked.key, 1, OutcomeKind.DECLINE, asked.request_hash)]


def test_so_is_what_would_have_followed_one() -> None:
    asked = child(TransferKind.REFUND, 71, **SAID)
    planned = plan([PAYER, PAYEE], [asked], parents=[parent()])
    assert declined(planned).decline._asdict() == {
        "id": 1,
        "debit_account": 2,
        "credit_account": 1,
        "amount": 71,
        "created_at_us": NOW_US,
        "effective_at_us": None,
        "kind": TransferKind.REFUND,
        "currency": "EUR",
        "client": CLIENT,
        "reason": "INSUFFICIENT_FUNDS",
        "figures": {"account": "2", "currency": "EUR", "available": "70", "requested": "71"},
        "reference": "r-9",
        "details_hash": b"h",
        "parent_id": 900,
        "group_id": None,
    }
    assert planned.keys == [KeyRow(CLIENT, asked.key, 1, OutcomeKind.DECLINE, asked.request_hash)]


def test_so_is_a_group_by_its_first_item_that_fails() -> None:
    asked = group(command(1, 2, 1), command(2, 1, 999, **SAID))
    planned = plan([PAYER, PAYEE], [asked])
    decline = declined(planned).decline
    assert (decline.debit_account, decline.credit_account, decline.amount) == (2, 1, 999)
    assert (decline.client, decline.reference, decline.group_id) == (CLIENT, "r-9", 1)
    assert planned.keys == [
        KeyRow(CLIENT, asked.key, decline.id, OutcomeKind.DECLINE, asked.request_hash)
    ]


@pytest.mark.parametrize("frozen", [1, 2])
def test_a_frozen_account_stops_what_takes_from_it_and_nothing_else(frozen: int) -> None:
    accounts = [account(1), account(2)]
    accounts[frozen - 1] = account(frozen, status=AccountStatus.FROZEN)
    asked = child(TransferKind.REFUND, 30)
    (outcome,) = plan(accounts, [asked], parents=[parent()]).outcomes
    if frozen == 2:
        assert isinstance(outcome, Declined)
        assert outcome.decline.figures == {"account": "2", "state": "FROZEN"}
    else:
        assert isinstance(outcome, Posted)


def test_a_hold_with_all_that_was_said_of_it_is_written_whole() -> None:
    asked = command(
        1,
        2,
        300,
        kind=TransferKind.HOLD,
        expires_at_us=NOW_US + 9,
        effective_at_us=12,
        **SAID,
    )
    asked = approved_payment(asked, "owner-1")
    assert asked.authorization is not None
    planned = plan([PAYER, PAYEE], [asked])
    (outcome,) = planned.outcomes
    assert isinstance(outcome, Posted), outcome
    assert outcome.transfer == Transfer(
        id=outcome.transfer.id,
        debit_account=PAYER.id,
        credit_account=PAYEE.id,
        amount=Minor(300),
        debit_version=6,
        credit_version=None,
        debit_balance_after=Minor(1_000),
        credit_balance_after=None,
        debit_held_after=Minor(400),
        created_at_us=NOW_US + 5,
        effective_at_us=12,
        authorization_id=asked.authorization.id,
        kind=TransferKind.HOLD,
        step_up=StepUpBasis.AUTHORIZED,
        currency=PAYER.currency,
        client=CLIENT,
        reference="r-9",
        details_hash=b"h",
        expires_at_us=NOW_US + 9,
    )
    assert outcome.visible == Visibility(debit=True, credit=True)

"""What a caller is told with a refusal that is not remembered: ids and figures to act on."""

from __future__ import annotations

from typing import Any

import pytest

from paycore.domain.account_changes import check_limit, check_status
from paycore.domain.accounts import AccountKind, AccountStatus
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.grants import GrantAction, GrantScope
from paycore.domain.money import MAX_MINOR, MIN_MINOR, Currency, Minor
from paycore.domain.singles import LONGEST_HOLD_US
from paycore.domain.transfers import (
    Command,
    Declined,
    Posted,
    Refused,
    RiskDecision,
    RiskVerdict,
    TransferKind,
    TransferState,
)
from tests.support.samples import (
    CLIENT,
    NOW_US,
    account,
    authorization,
    child,
    command,
    parent,
    plan,
    rules,
)

HELD = parent(TransferKind.HOLD, 100, expires_at_us=NOW_US + 50)
EXPIRED = TransferState.EXPIRED


def told(asked: Command, *accounts: Any, **more: Any) -> tuple[Reason, dict[str, str]]:
    """Why `asked` is refused, and the figures beside it."""
    (outcome,) = plan(accounts or (account(1), account(2)), [asked], **more).outcomes
    assert isinstance(outcome, Refused), outcome
    assert outcome.error.message
    return outcome.error.reason, dict(outcome.error.metadata)


@pytest.mark.parametrize(
    ("kind", "followed", "state"),
    [
        (TransferKind.CAPTURE, parent(TransferKind.TRANSFER), "POSTED"),
        (TransferKind.REFUND, parent(TransferKind.HOLD), "HELD"),
        (TransferKind.REFUND, parent(state=TransferState.REVERSED, remaining=0), "REVERSED"),
        (
            TransferKind.REVERSAL,
            parent(state=TransferState.PARTIALLY_REFUNDED, remaining=50),
            "PARTIALLY_REFUNDED",
        ),
        (TransferKind.CAPTURE, parent(TransferKind.HOLD, review="odd"), "HELD"),
    ],
    ids=["capture of no hold", "refund of a hold", "reversed", "refunded in part", "in review"],
)
def test_what_cannot_follow_is_told_of_what(kind: TransferKind, followed: Any, state: str) -> None:
    figures = {"id": "900", "kind": str(followed.transfer.kind), "state": state}
    assert told(child(kind), parents=[followed]) == (Reason.ILLEGAL_STATE, figures)


def test_a_review_is_told_of_what_is_held_for_none() -> None:
    reviews = rules((CLIENT, GrantAction.REVIEW, GrantScope.OWN, ""))
    asked = child(TransferKind.CAPTURE, review=True)
    figures = {"id": "900", "kind": "HOLD", "state": "HELD"}
    assert told(asked, parents=[HELD], with_rules=reviews) == (Reason.ILLEGAL_STATE, figures)


def test_another_currency_is_told_beside_that_of_what_it_would_follow() -> None:
    asked = child(TransferKind.REFUND, 5, asked_currency=Currency("USD"))
    figures = {"id": "900", "expected": "EUR", "actual": "USD"}
    assert told(asked, parents=[parent()]) == (Reason.CURRENCY_MISMATCH, figures)


@pytest.mark.parametrize("state", [TransferState.HELD, TransferState.CAPTURED])
def test_a_hold_that_does_not_expire_is_told_by_its_state(state: TransferState) -> None:
    asked = child(TransferKind.RELEASE, released_as=EXPIRED)
    followed = HELD._replace(state=state)
    figures = {"id": "900", "state": str(state)}
    assert told(asked, parents=[followed]) == (Reason.ILLEGAL_STATE, figures)


def test_what_does_not_exist_is_told_by_its_id() -> None:
    assert told(child(TransferKind.REFUND)) == (Reason.TRANSFER_NOT_FOUND, {"id": "900"})
    assert told(command(1, 9)) == (Reason.ACCOUNT_NOT_FOUND, {"id": "9"})


@pytest.mark.parametrize(
    ("payer", "payee"),
    [
        (account(1), account(2, balance=Minor(MAX_MINOR - 99))),
        (account(1, kind=AccountKind.EXTERNAL, balance=Minor(MIN_MINOR + 99)), account(2)),
    ],
    ids=["payee", "payer"],
)
def test_what_a_balance_has_no_room_for_is_told(payer: Any, payee: Any) -> None:
    kind = TransferKind.DEPOSIT if payer.kind is AccountKind.EXTERNAL else TransferKind.TRANSFER
    figures = {"requested": "100", "currency": "EUR"}
    asked = command(1, 2, 100, kind=kind)
    assert told(asked, payer, payee) == (Reason.BALANCE_OVERFLOW, figures)


def test_so_is_what_would_be_held_beyond_it() -> None:
    asked = command(1, 2, 100, kind=TransferKind.HOLD, expires_at_us=NOW_US + 9)
    payer = account(1, held=Minor(MAX_MINOR - 99))
    figures = {"requested": "100", "currency": "EUR"}
    assert told(asked, payer, account(2)) == (Reason.BALANCE_OVERFLOW, figures)


def test_so_is_what_would_come_back_beyond_it() -> None:
    asked = child(TransferKind.REFUND, 100)
    full = account(1, balance=Minor(MAX_MINOR - 99))
    figures = {"requested": "100", "currency": "EUR"}
    assert told(asked, full, account(2), parents=[parent()]) == (Reason.BALANCE_OVERFLOW, figures)


@pytest.mark.parametrize(
    ("changes", "reason", "why"),
    [
        ({"user_id": "owner-2"}, Reason.AUTHORIZATION_INVALID, "other user"),
        ({"expires_at_us": NOW_US}, Reason.AUTHORIZATION_EXPIRED, "expired"),
    ],
)
def test_an_approval_that_does_not_hold_is_told_with_its_account(
    changes: dict[str, Any], reason: Reason, why: str
) -> None:
    given = authorization(**{"user_id": "owner-1", **changes})
    assert told(command(1, 2, authorization=given)) == (reason, {"account": "1", "why": why})


def test_a_transfer_to_itself_is_told_by_its_account() -> None:
    assert told(command(1, 1)) == (Reason.SAME_ACCOUNT, {"account": "1"})


@pytest.mark.parametrize(
    ("kind", "external_side", "wrong", "expected", "actual"),
    [
        (TransferKind.DEPOSIT, 2, "1", "EXTERNAL", "CUSTOMER"),
        (TransferKind.TRANSFER, 2, "2", "CUSTOMER", "EXTERNAL"),
        (TransferKind.WITHDRAWAL, 1, "1", "CUSTOMER", "EXTERNAL"),
    ],
)
def test_an_account_of_the_wrong_kind_is_told_with_the_right_one(
    kind: TransferKind, external_side: int, wrong: str, expected: str, actual: str
) -> None:
    accounts = [account(1), account(2)]
    accounts[external_side - 1] = account(external_side, kind=AccountKind.EXTERNAL)
    figures = {"account": wrong, "expected": expected, "actual": actual}
    asked = command(1, 2, kind=kind)
    assert told(asked, *accounts) == (Reason.ACCOUNT_KIND_MISMATCH, figures)


@pytest.mark.parametrize("other", [1, 2])
def test_an_account_in_another_currency_is_told_with_its_own(other: int) -> None:
    accounts = [account(1), account(2)]
    accounts[other - 1] = account(other, currency=Currency("USD"))
    figures = {"account": str(other), "expected": "USD", "actual": "EUR"}
    assert told(command(1, 2), *accounts) == (Reason.CURRENCY_MISMATCH, figures)


@pytest.mark.parametrize(("side", "number"), [("debit", 1), ("credit", 2)])
@pytest.mark.parametrize("reads", [False, True])
def test_another_version_is_told_to_readers(side: str, number: int, reads: bool) -> None:
    may = [("rival", GrantAction.TRANSFER, GrantScope.ALL, "")]
    if reads:
        may.append(("rival", GrantAction.READ, GrantScope.ALL, ""))
    asked = command(1, 2, client="rival", **{f"expected_{side}_version": 4})
    figures = {"account": str(number), "expected": "4", **({"actual": "5"} if reads else {})}
    assert told(asked, with_rules=rules(*may)) == (Reason.VERSION_MISMATCH, figures)
    (outcome,) = plan([account(1), account(2)], [asked], rules(*may)).outcomes
    assert isinstance(outcome, Refused)
    assert outcome.error.message.startswith(f"the {side} account ")


@pytest.mark.parametrize("ahead_us", [0, LONGEST_HOLD_US + 1])
def test_a_deadline_that_does_not_do_is_told_by_its_field(ahead_us: int) -> None:
    def asked(ahead_us: int) -> Command:
        return command(1, 2, kind=TransferKind.HOLD, expires_at_us=NOW_US + ahead_us)

    accounts = [account(1), account(2)]
    (outcome,) = plan(accounts, [asked(ahead_us)]).outcomes
    assert isinstance(outcome, Refused)
    assert [one.field for one in outcome.error.violations] == ["expire_time"]
    assert all(one.description for one in outcome.error.violations)
    (longest,) = plan(accounts, [asked(LONGEST_HOLD_US)]).outcomes
    assert isinstance(longest, Posted)


def test_what_a_rule_declined_is_told_by_the_rule() -> None:
    asked = command(1, 2, risk=RiskVerdict(RiskDecision.DECLINE, "odd"))
    (outcome,) = plan([account(1), account(2)], [asked]).outcomes
    assert isinstance(outcome, Declined)
    assert (outcome.decline.reason, outcome.decline.figures) == ("RISK_DECLINED", {"rule": "odd"})


@pytest.mark.parametrize("granted", ["bank", "other"])
def test_a_hold_for_the_world_outside_needs_the_grant_of_a_withdrawal_too(granted: str) -> None:
    may = rules(
        ("rival", GrantAction.HOLD, GrantScope.ALL, ""),
        ("rival", GrantAction.WITHDRAWAL, GrantScope.INSTITUTION, granted),
    )
    asked = command(1, 2, 10, kind=TransferKind.HOLD, expires_at_us=NOW_US + 9, client="rival")
    accounts = (account(1), account(2, kind=AccountKind.EXTERNAL))
    if granted == "bank":
        assert isinstance(plan(accounts, [asked], may).outcomes[0], Posted)
    else:
        figures = {"account": "1", "grant": "WITHDRAWAL"}
        assert told(asked, *accounts, with_rules=may) == (Reason.NOT_PERMITTED, figures)


def test_an_account_that_has_no_floor_or_money_left_is_told() -> None:
    with pytest.raises(PaycoreError) as floor:
        check_limit(account(7, kind=AccountKind.EXTERNAL), Minor(1), readable=True)
    assert floor.value.metadata == {"account": "7", "kind": "EXTERNAL"}
    with pytest.raises(PaycoreError) as money:
        check_status(account(7), AccountStatus.CLOSED)
    assert money.value.metadata == {"account": "7", "state": "ACTIVE", "wanted": "CLOSED"}

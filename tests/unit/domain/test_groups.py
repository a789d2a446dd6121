"""A group is posted whole or not at all."""

from __future__ import annotations

import pytest

from paycore.domain.accounts import AccountStatus
from paycore.domain.errors import Reason
from paycore.domain.grants import GrantAction, GrantScope
from paycore.domain.money import Minor
from paycore.domain.plan import OutcomeKind
from paycore.domain.transfers import (
    Declined,
    Details,
    GroupPosted,
    Posted,
    Refused,
    RiskDecision,
    RiskVerdict,
    shown_figures,
)
from tests.support.applied_plans import apply_transfers
from tests.support.samples import account, command, group, plan, rules


def test_a_payroll_is_posted_in_its_order() -> None:
    staff = [account(number, balance=Minor(0)) for number in range(2, 12)]
    asked = group(*(command(1, one.id, 50) for one in staff))

    planned = plan([account(1), *staff], [asked])

    (outcome,) = planned.outcomes
    assert isinstance(outcome, GroupPosted)
    assert [one.transfer.credit_account for one in outcome.transfers] == list(range(2, 12))
    assert [one.transfer.debit_balance_after for one in outcome.transfers] == [
        1_000 - 50 * paid for paid in range(1, 11)
    ]
    assert {row.group_id for row in planned.transfers} == {outcome.id}
    assert planned.groups[0].transfers == tuple(row.id for row in planned.transfers)
    (key,) = planned.keys
    assert (key.outcome, key.outcome_id) == (OutcomeKind.GROUP, outcome.id)


def test_a_later_one_may_spend_what_an_earlier_one_brought() -> None:
    empty = account(2, balance=Minor(0))
    chain = group(command(1, 2, 400), command(2, 3, 400), command(3, 1, 1_400))
    (outcome,) = plan([account(1), empty, account(3)], [chain]).outcomes
    assert isinstance(outcome, GroupPosted)


def test_a_refusal_names_the_item_and_the_shortfall_and_changes_nothing() -> None:
    accounts = [account(1, held=Minor(200)), account(2), account(3)]
    asked = group(
        command(1, 2, 300, details=Details(description="x"), details_hash=b"h"),
        command(2, 1, 50),
        command(1, 3, 600),
        command(1, 2, 400),
    )
    after = command(1, 2, 800)

    planned = plan(accounts, [asked, after])

    (outcome, neighbour) = planned.outcomes
    assert isinstance(outcome, Declined)
    assert outcome.decline.figures == {
        "account": "1",
        "currency": "EUR",
        "item": "2",
        "requested": "600",
        # All that the group takes from the account, what it has, and the least that would do.
        "needed": "1300",
        "available": "800",
        "shortfall": "450",
    }
    assert outcome.decline.group_id is not None
    assert isinstance(neighbour, Posted)
    assert neighbour.transfer.debit_balance_after == 200
    assert [row.id for row in planned.transfers] == [neighbour.transfer.id]
    assert planned.details == []
    assert planned.groups == []
    assert len(planned.keys) == 2
    state = {one.id: one for one in accounts}
    apply_transfers(state, planned.transfers)


@pytest.mark.parametrize("lacking", [0, 1])
def test_with_the_shortfall_made_up_it_passes(lacking: int) -> None:
    asked = group(command(1, 2, 700), command(2, 1, 100), command(1, 2, 900))
    (short,) = plan([account(1), account(2)], [asked]).outcomes
    assert isinstance(short, Declined)
    shortfall = int(short.decline.figures["shortfall"])
    richer = account(1, balance=Minor(1_000 + shortfall - lacking))
    (outcome,) = plan([richer, account(2)], [asked]).outcomes
    assert isinstance(outcome, Declined if lacking else GroupPosted)


def test_what_a_retry_decides_afresh_is_not_remembered() -> None:
    asked = group(command(1, 2, 100), command(1, 99, 1))
    planned = plan([account(1), account(2)], [asked, command(1, 2, 1_000)])
    refusal, neighbour = planned.outcomes
    assert isinstance(refusal, Refused)
    assert refusal.error.reason is Reason.ACCOUNT_NOT_FOUND
    assert refusal.error.metadata == {"id": "99", "item": "1"}
    assert isinstance(neighbour, Posted)
    assert len(planned.keys) == len(planned.transfers) == 1


def test_a_closed_payee_stops_the_whole_group() -> None:
    closed = account(3, status=AccountStatus.CLOSED, balance=Minor(0))
    planned = plan([account(1), account(2), closed], [group(command(1, 2, 10), command(1, 3, 10))])
    (outcome,) = planned.outcomes
    assert isinstance(outcome, Declined)
    assert (outcome.decline.reason, outcome.decline.figures["item"]) == (
        Reason.ACCOUNT_CLOSED,
        "1",
    )
    assert planned.transfers == []


def test_what_would_wait_for_a_review_stops_it_too() -> None:
    odd = command(1, 2, 10, risk=RiskVerdict(RiskDecision.REVIEW, "odd"))
    planned = plan([account(1), account(2)], [group(command(1, 2, 10), odd)])
    (outcome,) = planned.outcomes
    assert isinstance(outcome, Declined)
    assert outcome.decline.figures == {"rule": "odd", "item": "1"}


def test_each_item_needs_its_own_grant() -> None:
    mixed = group(command(1, 2, 10, client="rival"), command(2, 1, 10), client="rival")
    partly = rules(("rival", GrantAction.TRANSFER, GrantScope.INSTITUTION, "bank"))
    elsewhere = account(2, institution="other")
    (outcome,) = plan([account(1), elsewhere], [mixed], partly).outcomes
    assert isinstance(outcome, Refused)
    assert outcome.error.reason is Reason.NOT_PERMITTED
    assert outcome.error.metadata["item"] == "1"


def test_copies_of_a_group_get_its_first_outcome() -> None:
    asked = group(command(1, 2, 10), command(1, 2, 20))
    planned = plan([account(1), account(2)], [asked, asked])
    first, copy = planned.outcomes
    assert isinstance(first, GroupPosted)
    assert isinstance(copy, GroupPosted)
    assert copy.replayed
    assert copy.transfers == first.transfers
    assert len(planned.transfers) == 2


def test_who_may_not_read_the_payer_learns_nothing_of_what_it_has() -> None:
    figures = {"available": "1", "shortfall": "2", "needed": "3", "item": "0"}
    assert shown_figures(figures, payer_readable=True) == figures
    assert shown_figures(figures, payer_readable=False) == {"needed": "3", "item": "0"}

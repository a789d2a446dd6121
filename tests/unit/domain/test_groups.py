"""A group is posted whole or not at all."""

from __future__ import annotations

import pytest

from paycore.domain.accounts import AccountStatus
from paycore.domain.errors import Reason
from paycore.domain.grants import GrantAction, GrantScope
from paycore.domain.money import Minor
from paycore.domain.plan import GroupRow, KeyRow, OutcomeKind, StoredGroup, StoredOutcome
from paycore.domain.position import Position
from paycore.domain.transfers import (
    Declined,
    Details,
    GroupPosted,
    Posted,
    Refused,
    RiskDecision,
    RiskVerdict,
    TransferCommand,
    Visibility,
    shown_figures,
)
from tests.support.applied_plans import apply_transfers
from tests.support.samples import CLIENT, NOW_US, account, command, group, plan, rules

DETAILS = Details(description="x")


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


@pytest.mark.parametrize(
    "failing", [command(1, 2, 901), command(1, 99, 1)], ids=["declined", "refused"]
)
def test_what_was_planned_before_a_group_that_fails_stays(failing: TransferCommand) -> None:
    said = {"details": DETAILS, "details_hash": b"h"}
    before = command(1, 2, 100, **said)
    asked = group(command(2, 1, 5, **said), command(1, 2, 6, **said), failing)
    planned = plan([account(1), account(2)], [before, asked])
    first, outcome = planned.outcomes
    assert isinstance(first, Posted)
    assert isinstance(outcome, Declined | Refused)
    assert planned.transfers == [first.transfer]
    assert planned.details == [(first.transfer.id, DETAILS)]


def test_a_group_is_written_under_its_client_and_key() -> None:
    asked = group(command(1, 2, 10), command(2, 1, 5))
    planned = plan([account(1), account(2)], [asked])
    (outcome,) = planned.outcomes
    assert isinstance(outcome, GroupPosted)
    assert {one.transfer.client for one in outcome.transfers} == {CLIENT}
    members = tuple(one.transfer.id for one in outcome.transfers)
    assert planned.groups == [GroupRow(outcome.id, NOW_US, CLIENT, members)]
    assert planned.keys == [
        KeyRow(CLIENT, asked.key, outcome.id, OutcomeKind.GROUP, asked.request_hash)
    ]


def test_a_group_of_a_client_carries_its_name_whatever_its_items_say() -> None:
    may = ("rival", GrantAction.TRANSFER, GrantScope.ALL, "")
    asked = group(command(1, 2, 10), command(1, 2, 5_000), client="rival")
    planned = plan([account(1), account(2)], [asked], rules(may))
    (outcome,) = planned.outcomes
    assert isinstance(outcome, Declined)
    assert outcome.decline.client == "rival"
    assert [(row.client, row.key) for row in planned.keys] == [("rival", asked.key)]
    paid = plan([account(1), account(2)], [asked._replace(items=asked.items[:1])], rules(may))
    assert [row.client for row in paid.transfers] == ["rival"]


def test_copies_of_a_declined_group_get_its_first_refusal() -> None:
    asked = group(command(1, 2, 10), command(1, 2, 5_000, details=DETAILS, details_hash=b"h"))
    planned = plan([account(1), account(2)], [asked, asked])
    first, copy = planned.outcomes
    assert isinstance(first, Declined)
    assert isinstance(copy, Declined)
    assert copy.replayed
    assert (copy.decline, copy.details) == (first.decline, DETAILS)
    assert len(planned.declines) == len(planned.keys) == 1


def test_a_stored_group_is_given_again_with_its_first_position() -> None:
    asked = group(command(1, 2, 10, details=DETAILS, details_hash=b"h"), command(2, 1, 5))
    (first,) = plan([account(1), account(2)], [asked]).outcomes
    assert isinstance(first, GroupPosted)
    members = tuple((one.transfer, one.details) for one in first.transfers)
    place = Position(1, 42, 4242)
    row = StoredGroup(first.id, members)
    stored = {(CLIENT, asked.key): StoredOutcome(asked.request_hash, row, None, place)}
    poor = [account(1, balance=Minor(0)), account(2, balance=Minor(0))]

    planned = plan(poor, [asked], stored=stored)

    (again,) = planned.outcomes
    assert isinstance(again, GroupPosted)
    assert (again.id, again.replayed, again.position) == (first.id, True, place)
    assert [(one.transfer, one.details) for one in again.transfers] == list(members)
    assert [one.visible for one in again.transfers] == [Visibility(True, True)] * 2
    assert all(one.replayed and one.position == place for one in again.transfers)
    assert not planned.transfers
    assert not planned.keys


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
    assert copy.id == first.id
    assert copy.transfers == first.transfers
    assert len(planned.transfers) == 2


def test_who_may_not_read_the_payer_learns_nothing_of_what_it_has() -> None:
    figures = {"available": "1", "shortfall": "2", "needed": "3", "item": "0"}
    assert shown_figures(figures, payer_readable=True) == figures
    assert shown_figures(figures, payer_readable=False) == {"needed": "3", "item": "0"}

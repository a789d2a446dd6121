"""What may follow a transfer, how much of it, and in which state that leaves it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from paycore.domain.accounts import AccountId, AccountStatus
from paycore.domain.errors import Reason
from paycore.domain.grants import GrantAction, GrantScope
from paycore.domain.money import MAX_MINOR, Minor
from paycore.domain.rules import LEGAL_CHILDREN
from paycore.domain.transfers import (
    ChildCommand,
    Declined,
    Posted,
    Refused,
    RiskDecision,
    RiskVerdict,
    Transfer,
    TransferKind,
    TransferState,
)
from tests.support.samples import NOW_US, account, child, command, external, parent, plan, rules

HELD = parent(TransferKind.HOLD, 100)
PAYER = account(1, held=Minor(100))
PAYEE = account(2)

Told = tuple[str, Mapping[str, str]]


def posted(outcome: object) -> Transfer:
    assert isinstance(outcome, Posted), outcome
    return outcome.transfer


def declined(outcome: object) -> Told:
    assert isinstance(outcome, Declined), outcome
    return outcome.decline.reason, outcome.decline.figures


def refused(outcome: object) -> Reason:
    assert isinstance(outcome, Refused), outcome
    return outcome.error.reason


def not_permitted(outcome: object) -> Mapping[str, str]:
    assert isinstance(outcome, Refused), outcome
    assert outcome.error.reason is Reason.NOT_PERMITTED
    return outcome.error.metadata


class TestHolds:
    def test_a_hold_sets_money_aside_and_moves_none(self) -> None:
        asked = command(1, 2, 300, kind=TransferKind.HOLD, expires_at_us=NOW_US + 1)
        hold = posted(plan([account(1), account(2)], [asked]).outcomes[0])

        assert (hold.debit_version, hold.debit_balance_after, hold.debit_held_after) == (
            6,
            1_000,
            300,
        )
        assert (hold.credit_version, hold.credit_balance_after) == (None, None)
        assert hold.state is TransferState.HELD
        assert hold.expires_at_us == NOW_US + 1

    def test_what_is_held_cannot_be_spent_in_the_same_batch_either(self) -> None:
        hold = command(1, 2, 300, kind=TransferKind.HOLD, expires_at_us=NOW_US + 1)
        planned = plan([account(1), account(2)], [hold, command(1, 2, 701), command(1, 2, 700)])

        assert declined(planned.outcomes[1])[0] == Reason.INSUFFICIENT_FUNDS
        assert posted(planned.outcomes[2]).debit_held_after == 300

    @pytest.mark.parametrize("expires_at_us", [NOW_US, NOW_US + 366 * 86_400_000_000 + 1])
    def test_its_deadline_lies_ahead_but_not_too_far(self, expires_at_us: int) -> None:
        asked = command(1, 2, 1, kind=TransferKind.HOLD, expires_at_us=expires_at_us)
        assert refused(plan([account(1), account(2)], [asked]).outcomes[0]) is Reason.INVALID_FIELD

    @pytest.mark.parametrize("ahead", [1, 2])
    def test_its_deadline_lies_after_the_time_that_the_entry_gets(self, ahead: int) -> None:
        accounts = [account(1), account(2)]
        accounts[ahead - 1] = account(ahead, last_entry_us=NOW_US + 5)
        late, early = (
            command(1, 2, 1, kind=TransferKind.HOLD, expires_at_us=NOW_US + after_us)
            for after_us in (7, 6)
        )
        assert refused(plan(accounts, [early]).outcomes[0]) is Reason.INVALID_FIELD
        assert posted(plan(accounts, [late]).outcomes[0]).created_at_us == NOW_US + 6

    def test_a_payee_that_is_full_is_no_matter_until_the_capture(self) -> None:
        accounts = [account(1), account(2, balance=Minor(MAX_MINOR))]
        hold = command(1, 2, 100, kind=TransferKind.HOLD, expires_at_us=NOW_US + 9)
        review = command(1, 2, 100, risk=RiskVerdict(RiskDecision.REVIEW, "odd"))
        for asked in (hold, review):
            assert posted(plan(accounts, [asked]).outcomes[0]).kind is TransferKind.HOLD
        captured = plan([PAYER, accounts[1]], [child(TransferKind.CAPTURE)], parents=[HELD])
        assert refused(captured.outcomes[0]) is Reason.BALANCE_OVERFLOW

    def test_what_is_held_stays_in_range(self) -> None:
        payer = account(
            1, balance=Minor(MAX_MINOR), held=Minor(MAX_MINOR - 5), overdraft_limit=Minor(100)
        )
        for amount, fits in ((5, True), (6, False)):
            hold = command(1, 2, amount, kind=TransferKind.HOLD, expires_at_us=NOW_US + 9)
            (outcome,) = plan([payer, account(2)], [hold]).outcomes
            if fits:
                posted(outcome)
            else:
                assert refused(outcome) is Reason.BALANCE_OVERFLOW

    def test_for_the_world_outside_it_needs_the_grant_to_withdraw(self) -> None:
        asked = command(1, 2, 1, kind=TransferKind.HOLD, client="rival", expires_at_us=NOW_US + 1)
        only_hold = rules(("rival", GrantAction.HOLD, GrantScope.ALL, ""))
        both = rules(
            ("rival", GrantAction.HOLD, GrantScope.ALL, ""),
            ("rival", GrantAction.WITHDRAWAL, GrantScope.ALL, ""),
        )
        accounts = [account(1), external(2)]
        assert refused(plan(accounts, [asked], only_hold).outcomes[0]) is Reason.NOT_PERMITTED
        posted(plan(accounts, [asked], both).outcomes[0])
        posted(plan([account(1), account(2)], [asked], only_hold).outcomes[0])


class TestCaptures:
    def test_a_capture_moves_a_part_and_frees_the_rest(self) -> None:
        planned = plan([PAYER, PAYEE], [child(TransferKind.CAPTURE, 60)], parents=[HELD])
        capture = posted(planned.outcomes[0])

        assert (capture.amount, capture.released, capture.parent_remaining) == (60, 40, 0)
        assert (capture.parent_id, capture.parent_sequence) == (900, 1)
        assert capture.parent_state is TransferState.CAPTURED
        assert (capture.debit_balance_after, capture.debit_held_after) == (940, 0)
        assert capture.credit_balance_after == 1_060

    def test_one_that_is_not_final_leaves_the_rest_held(self) -> None:
        asked = [
            child(TransferKind.CAPTURE, 60, final=False),
            child(TransferKind.CAPTURE, 41),
            child(TransferKind.CAPTURE, 40, final=False),
            child(TransferKind.CAPTURE, 1),
        ]
        planned = plan([PAYER, PAYEE], asked, parents=[HELD])
        first, beyond, last, after = planned.outcomes

        assert posted(first).parent_state is TransferState.PARTIALLY_CAPTURED
        assert (posted(first).parent_remaining, posted(first).debit_held_after) == (40, 40)
        assert declined(beyond) == (
            Reason.EXCEEDS_REMAINING,
            {"id": "900", "currency": "EUR", "remaining": "40", "requested": "41"},
        )
        # Nothing is left, so it is over whether or not the caller says so.
        assert posted(last).parent_state is TransferState.CAPTURED
        assert (posted(last).parent_sequence, posted(last).released) == (2, None)
        assert declined(after) == (Reason.HOLD_NOT_OPEN, {"id": "900", "state": "CAPTURED"})

    def test_without_an_amount_it_is_all_that_is_left(self) -> None:
        open_hold = parent(
            TransferKind.HOLD,
            100,
            children=3,
            remaining=70,
            state=TransferState.PARTIALLY_CAPTURED,
        )
        payer = account(1, held=Minor(70))
        planned = plan([payer, PAYEE], [child(TransferKind.CAPTURE)], parents=[open_hold])
        assert (
            posted(planned.outcomes[0]).amount,
            posted(planned.outcomes[0]).parent_sequence,
        ) == (
            70,
            4,
        )

    def test_what_was_set_aside_can_be_captured_without_anything_else_left(self) -> None:
        payer = account(1, balance=Minor(100), held=Minor(100))
        planned = plan([payer, PAYEE], [child(TransferKind.CAPTURE)], parents=[HELD])
        assert posted(planned.outcomes[0]).debit_balance_after == 0

    @pytest.mark.parametrize(("late_us", "open_still"), [(-1, True), (0, False)])
    def test_past_its_deadline_it_cannot_be_captured(self, late_us: int, open_still: bool) -> None:
        hold = parent(TransferKind.HOLD, 100, expires_at_us=NOW_US - late_us)
        (outcome,) = plan([PAYER, PAYEE], [child(TransferKind.CAPTURE)], parents=[hold]).outcomes
        if open_still:
            posted(outcome)
        else:
            assert declined(outcome) == (Reason.HOLD_NOT_OPEN, {"id": "900", "state": "EXPIRED"})

    def test_the_time_of_the_entry_decides_not_that_of_a_slow_clock(self) -> None:
        hold = parent(TransferKind.HOLD, 100, expires_at_us=NOW_US + 10)
        ahead = account(1, held=Minor(100), last_entry_us=NOW_US + 9)
        (outcome,) = plan([ahead, PAYEE], [child(TransferKind.CAPTURE)], parents=[hold]).outcomes
        assert declined(outcome)[0] == Reason.HOLD_NOT_OPEN

    @pytest.mark.parametrize(
        ("payer", "payee", "reason"),
        [
            (AccountStatus.FROZEN, AccountStatus.ACTIVE, Reason.ACCOUNT_FROZEN),
            (AccountStatus.ACTIVE, AccountStatus.CLOSED, Reason.ACCOUNT_CLOSED),
        ],
    )
    def test_a_capture_is_a_debit(
        self, payer: AccountStatus, payee: AccountStatus, reason: Reason
    ) -> None:
        accounts = [PAYER._replace(status=payer), PAYEE._replace(status=payee)]
        (outcome,) = plan(accounts, [child(TransferKind.CAPTURE)], parents=[HELD]).outcomes
        assert declined(outcome)[0] == reason


class TestReleases:
    def test_a_release_frees_what_is_left(self) -> None:
        open_hold = parent(
            TransferKind.HOLD, 100, children=1, remaining=70, state=TransferState.PARTIALLY_CAPTURED
        )
        payer = account(1, held=Minor(90))
        planned = plan([payer, PAYEE], [child(TransferKind.RELEASE)] * 2, parents=[open_hold])
        release = posted(planned.outcomes[0])

        assert (release.amount, release.debit_held_after, release.parent_remaining) == (70, 20, 0)
        assert release.parent_state is TransferState.RELEASED
        assert (release.debit_balance_after, release.credit_version) == (1_000, None)

    def test_even_of_a_frozen_account(self) -> None:
        frozen = PAYER._replace(status=AccountStatus.FROZEN)
        posted(plan([frozen, PAYEE], [child(TransferKind.RELEASE)], parents=[HELD]).outcomes[0])

    def test_after_the_deadline_the_hold_has_expired_whoever_frees_it(self) -> None:
        hold = parent(TransferKind.HOLD, 100, expires_at_us=NOW_US)
        planned = plan([PAYER, PAYEE], [child(TransferKind.RELEASE)], parents=[hold])
        assert posted(planned.outcomes[0]).parent_state is TransferState.EXPIRED

    @pytest.mark.parametrize(
        ("process_us", "tables_us", "last_entry_us", "due"),
        [
            (0, 0, 0, True),
            (-1, 0, 0, False),
            (0, -1, 0, False),
            # That an entry cannot be made earlier makes no time pass.
            (-1, 0, 5, False),
        ],
    )
    def test_a_deadline_has_passed_when_it_has_by_both_clocks(
        self, process_us: int, tables_us: int, last_entry_us: int, due: bool
    ) -> None:
        hold = parent(TransferKind.HOLD, 100, expires_at_us=NOW_US)
        payer = PAYER._replace(last_entry_us=NOW_US + last_entry_us - 1)
        own = child(TransferKind.RELEASE, released_as=TransferState.EXPIRED, client="nobody")
        overdue, asked_for = (
            plan(
                [payer, PAYEE],
                [release],
                parents=[hold],
                now_us=NOW_US + process_us,
                clock_us=NOW_US + tables_us,
            ).outcomes[0]
            for release in (own, child(TransferKind.RELEASE))
        )
        if due:
            assert posted(overdue).parent_state is TransferState.EXPIRED
            assert posted(asked_for).parent_state is TransferState.EXPIRED
        else:
            assert refused(overdue) is Reason.ILLEGAL_STATE
            assert posted(asked_for).parent_state is TransferState.RELEASED

    def test_nothing_is_freed_twice(self) -> None:
        one, two = child(TransferKind.RELEASE), child(TransferKind.RELEASE)
        planned = plan([PAYER, PAYEE], [one, two, child(TransferKind.CAPTURE, 1)], parents=[HELD])
        posted(planned.outcomes[0])
        for late in planned.outcomes[1:]:
            assert declined(late) == (Reason.HOLD_NOT_OPEN, {"id": "900", "state": "RELEASED"})


class TestRefunds:
    def test_several_give_back_no_more_than_was_paid(self) -> None:
        asked = [child(TransferKind.REFUND, amount) for amount in (30, 71, 70, 1)]
        planned = plan([account(1), account(2)], asked, parents=[parent(amount=100)])
        first, beyond, last, after = planned.outcomes

        assert posted(first).parent_state is TransferState.PARTIALLY_REFUNDED
        assert (posted(first).debit_account, posted(first).credit_account) == (2, 1)
        assert declined(beyond)[1]["remaining"] == "70"
        assert posted(last).parent_state is TransferState.REFUNDED
        assert declined(after)[0] == Reason.EXCEEDS_REMAINING

    def test_all_that_is_left_of_nothing_is_too_much(self) -> None:
        spent = parent(children=1, remaining=0, state=TransferState.REFUNDED)
        planned = plan([account(1), account(2)], [child(TransferKind.REFUND)], parents=[spent])
        assert declined(planned.outcomes[0])[0] == Reason.EXCEEDS_REMAINING
        # A decline is of an amount, though none was named: that of the original.
        assert planned.declines[0].amount == 100

    def test_the_payee_must_have_it(self) -> None:
        poor = account(2, balance=Minor(99))
        (outcome,) = plan(
            [account(1), poor], [child(TransferKind.REFUND, 100)], parents=[parent(amount=100)]
        ).outcomes
        assert declined(outcome)[0] == Reason.INSUFFICIENT_FUNDS

    def test_of_a_reversed_transfer_there_is_none(self) -> None:
        gone = parent(children=1, remaining=0, state=TransferState.REVERSED)
        (outcome,) = plan(
            [account(1), account(2)], [child(TransferKind.REFUND, 1)], parents=[gone]
        ).outcomes
        assert refused(outcome) is Reason.ILLEGAL_STATE

    def test_the_balance_stays_in_range(self) -> None:
        full = account(1, balance=Minor(MAX_MINOR))
        (outcome,) = plan(
            [full, account(2)], [child(TransferKind.REFUND, 1)], parents=[parent()]
        ).outcomes
        assert refused(outcome) is Reason.BALANCE_OVERFLOW


class TestReversals:
    def test_a_reversal_is_whole(self) -> None:
        planned = plan(
            [account(1), account(2)], [child(TransferKind.REVERSAL)] * 1, parents=[parent()]
        )
        reversal = posted(planned.outcomes[0])
        assert (reversal.amount, reversal.parent_remaining) == (100, 0)
        assert reversal.parent_state is TransferState.REVERSED

    @pytest.mark.parametrize(
        "state",
        [TransferState.PARTIALLY_REFUNDED, TransferState.REFUNDED, TransferState.REVERSED],
    )
    def test_nothing_may_have_followed_before(self, state: TransferState) -> None:
        touched = parent(children=1, remaining=1, state=state)
        (outcome,) = plan(
            [account(1), account(2)], [child(TransferKind.REVERSAL)], parents=[touched]
        ).outcomes
        assert refused(outcome) is Reason.ILLEGAL_STATE

    def test_it_never_breaks_a_floor(self) -> None:
        poor = account(2, balance=Minor(99))
        planned = plan([account(1), poor], [child(TransferKind.REVERSAL)], parents=[parent()])
        assert declined(planned.outcomes[0])[0] == Reason.INSUFFICIENT_FUNDS
        # Listed for an operator: the decline names what could not be reversed.
        assert planned.declines[0].parent_id == 900
        assert planned.transfers == []

    def test_a_deposit_goes_back_to_the_world_outside(self) -> None:
        deposit = parent(TransferKind.DEPOSIT)
        planned = plan([external(1), account(2)], [child(TransferKind.REVERSAL)], parents=[deposit])
        assert posted(planned.outcomes[0]).credit_balance_after == -1_900


class TestTheWorldOutside:
    """What is given back across its border needs the grant for that direction as well."""

    @pytest.mark.parametrize(
        ("kind", "followed", "needed"),
        [
            (TransferKind.REFUND, TransferKind.CAPTURE, GrantAction.DEPOSIT),
            (TransferKind.REVERSAL, TransferKind.CAPTURE, GrantAction.DEPOSIT),
            (TransferKind.REVERSAL, TransferKind.WITHDRAWAL, GrantAction.DEPOSIT),
            (TransferKind.REVERSAL, TransferKind.DEPOSIT, GrantAction.WITHDRAWAL),
        ],
    )
    def test_giving_back_needs_the_grant_of_the_other_direction(
        self, kind: TransferKind, followed: TransferKind, needed: GrantAction
    ) -> None:
        asked = child(kind, client="rival")
        comes_in = needed is GrantAction.DEPOSIT
        accounts = [account(1), external(2)] if comes_in else [external(1), account(2)]
        granted = {
            action: ("rival", action, GrantScope.ALL, "")
            for action in (
                GrantAction.READ,
                GrantAction(kind),
                GrantAction.DEPOSIT,
                GrantAction.WITHDRAWAL,
            )
        }
        for missing in (needed, GrantAction(kind)):
            others = (grant for action, grant in granted.items() if action is not missing)
            (without,) = plan(
                accounts, [asked], rules(*others), parents=[parent(followed)]
            ).outcomes
            assert not_permitted(without) == {"account": "2", "grant": missing}
        enough = (granted[action] for action in (GrantAction.READ, GrantAction(kind), needed))
        (done,) = plan(accounts, [asked], rules(*enough), parents=[parent(followed)]).outcomes
        posted(done)


class TestReviews:
    REVIEWER = rules(
        ("desk", GrantAction.REVIEW, GrantScope.ALL, ""),
        ("desk", GrantAction.READ, GrantScope.ALL, ""),
    )
    WAITING = parent(TransferKind.HOLD, 100, review="odd")

    def test_what_waits_for_a_review_is_held(self) -> None:
        asked = command(1, 2, 100, risk=RiskVerdict(RiskDecision.REVIEW, "odd"))
        transfer = posted(plan([account(1), account(2)], [asked]).outcomes[0])
        assert (transfer.kind, transfer.review) == (TransferKind.HOLD, "odd")
        assert transfer.debit_held_after == 100

    @pytest.mark.parametrize(
        ("kind", "released_as", "state"),
        [
            (TransferKind.CAPTURE, TransferState.RELEASED, TransferState.CAPTURED),
            (TransferKind.RELEASE, TransferState.ROLLED_BACK, TransferState.ROLLED_BACK),
        ],
    )
    def test_only_a_review_settles_it(
        self, kind: TransferKind, released_as: TransferState, state: TransferState
    ) -> None:
        settled = child(kind, client="desk", review=True, released_as=released_as)
        (done,) = plan([PAYER, PAYEE], [settled], self.REVIEWER, parents=[self.WAITING]).outcomes
        assert posted(done).parent_state is state
        (own,) = plan([PAYER, PAYEE], [child(kind)], parents=[self.WAITING]).outcomes
        assert refused(own) is Reason.ILLEGAL_STATE
        (ungranted,) = plan(
            [PAYER, PAYEE], [settled._replace(client="shop")], parents=[self.WAITING]
        ).outcomes
        assert refused(ungranted) is Reason.NOT_PERMITTED

    def test_a_review_settles_nothing_else(self) -> None:
        asked = child(TransferKind.CAPTURE, client="desk", review=True)
        (outcome,) = plan([PAYER, PAYEE], [asked], self.REVIEWER, parents=[HELD]).outcomes
        assert refused(outcome) is Reason.ILLEGAL_STATE


class TestParents:
    @pytest.mark.parametrize("kind", list(LEGAL_CHILDREN))
    @pytest.mark.parametrize("followed", list(TransferKind))
    def test_which_kind_may_follow_which_is_a_table(
        self, kind: TransferKind, followed: TransferKind
    ) -> None:
        (outcome,) = plan([PAYER, PAYEE], [child(kind)], parents=[parent(followed)]).outcomes
        if followed in LEGAL_CHILDREN[kind]:
            posted(outcome)
        else:
            assert refused(outcome) is Reason.ILLEGAL_STATE

    def test_an_unknown_one_is_not_found(self) -> None:
        (outcome,) = plan([PAYER, PAYEE], [child(TransferKind.REFUND)]).outcomes
        assert refused(outcome) is Reason.TRANSFER_NOT_FOUND

    def test_the_amount_is_in_its_currency(self) -> None:
        asked = child(TransferKind.REFUND, 1, asked_currency="USD")
        (outcome,) = plan([account(1), account(2)], [asked], parents=[parent()]).outcomes
        assert refused(outcome) is Reason.CURRENCY_MISMATCH

    @pytest.mark.parametrize("kind", list(LEGAL_CHILDREN))
    def test_each_kind_needs_its_grant_on_the_account_that_is_debited(
        self, kind: TransferKind
    ) -> None:
        hold = kind in (TransferKind.CAPTURE, TransferKind.RELEASE)
        followed = HELD if hold else parent()
        debited = AccountId(1 if hold else 2)
        asked = child(kind, client="rival")
        accounts = [PAYER, PAYEE]
        accounts[debited - 1] = accounts[debited - 1]._replace(institution="x")
        reads = ("rival", GrantAction.READ, GrantScope.ALL, "")
        for institution, allowed in (("bank", False), ("x", True)):
            grant = ("rival", GrantAction(kind), GrantScope.INSTITUTION, institution)
            (outcome,) = plan(accounts, [asked], rules(reads, grant), parents=[followed]).outcomes
            if allowed:
                posted(outcome)
            else:
                assert not_permitted(outcome) == {"account": str(debited), "grant": kind}

    def test_a_copy_gets_the_first_outcome(self) -> None:
        asked: ChildCommand = child(TransferKind.CAPTURE, 10, final=False)
        planned = plan([PAYER, PAYEE], [asked, asked], parents=[HELD])
        first, copy = planned.outcomes
        assert isinstance(copy, Posted)
        assert copy.replayed
        assert posted(copy) == posted(first)
        assert len(planned.transfers) == 1

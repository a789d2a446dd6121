"""Deciding a batch, rule by rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from paycore.domain.accounts import Account, AccountId, AccountKind, AccountStatus
from paycore.domain.errors import STORED_DECLINES, PaycoreError, Reason
from paycore.domain.grants import GrantAction, GrantScope
from paycore.domain.money import MAX_MINOR, MIN_MINOR, Minor
from paycore.domain.plan import AuthorizationRow, KeyRow, OutcomeKind, Plan, StoredOutcome
from paycore.domain.position import Position
from paycore.domain.rules import ENDPOINTS
from paycore.domain.transfers import (
    Declined,
    Details,
    Posted,
    Refused,
    RiskDecision,
    RiskVerdict,
    StepUpBasis,
    TransferCommand,
    TransferKind,
)
from tests.support.applied_plans import apply_transfers
from tests.support.samples import (
    CLIENT,
    NOW_US,
    THRESHOLD,
    account,
    approved_payment,
    command,
    external,
    plan,
    rules,
)

PLACE = Position(1, 42, 4242)
RENT = Details(description="rent")


def posted(outcome: object) -> Posted:
    assert isinstance(outcome, Posted), outcome
    return outcome


def declined(outcome: object) -> Declined:
    assert isinstance(outcome, Declined), outcome
    return outcome


def refused(outcome: object) -> PaycoreError:
    assert isinstance(outcome, Refused), outcome
    return outcome.error


def applied(accounts: Sequence[Account], planned: Plan) -> list[Account]:
    """`accounts` as the tables have them after `planned`."""
    after = {one.id: one for one in accounts}
    apply_transfers(after, planned.transfers)
    return list(after.values())


def assert_writes_nothing(planned: Plan) -> None:
    assert replace(planned, outcomes=[]) == Plan()


class TestPosting:
    def test_moves_the_amount_and_numbers_both_entries(self) -> None:
        payer, payee = account(1, version=5), account(2, balance=Minor(7), version=0)
        asked = command(1, 2, 300)

        planned = plan([payer, payee], [asked])

        transfer = posted(planned.outcomes[0]).transfer
        assert transfer._asdict() == {
            "id": 1,
            "debit_account": 1,
            "credit_account": 2,
            "amount": 300,
            "debit_version": 6,
            "credit_version": 1,
            "debit_balance_after": 700,
            "credit_balance_after": 307,
            "debit_held_after": 0,
            "created_at_us": NOW_US,
            "effective_at_us": None,
            "authorization_id": None,
            "kind": TransferKind.TRANSFER,
            "step_up": StepUpBasis.BELOW_THRESHOLD,
            "currency": "EUR",
            "client": CLIENT,
            "reference": None,
            "details_hash": None,
            "parent_id": None,
            "parent_sequence": None,
            "parent_remaining": None,
            "parent_state": None,
            "released": None,
            "expires_at_us": None,
            "group_id": None,
            "review": None,
        }
        assert planned.transfers == [transfer]
        assert planned.keys == [
            KeyRow(CLIENT, asked.key, transfer.id, OutcomeKind.TRANSFER, asked.request_hash)
        ]
        assert planned.declines == []

    def test_carries_what_the_caller_said_of_it(self) -> None:
        details = Details(user_id="u", description="rent", metadata={"a": "b"})
        asked = command(
            1, 2, reference="r-1", details=details, details_hash=b"h", effective_at_us=12
        )

        planned = plan([account(1), account(2)], [asked])

        transfer = posted(planned.outcomes[0]).transfer
        assert (transfer.reference, transfer.details_hash) == ("r-1", b"h")
        assert transfer.effective_at_us == 12
        assert planned.details == [(transfer.id, details)]
        assert posted(planned.outcomes[0]).details == details

    def test_the_last_unit_may_be_spent_and_not_one_more(self) -> None:
        exact = plan([account(1), account(2)], [command(1, 2, 1_000)])
        assert posted(exact.outcomes[0]).transfer.debit_balance_after == 0

        beyond = plan([account(1), account(2)], [command(1, 2, 1_001)])
        assert declined(beyond.outcomes[0]).decline.figures == {
            "account": "1",
            "currency": "EUR",
            "available": "1000",
            "requested": "1001",
        }

    def test_the_overdraft_limit_is_the_floor(self) -> None:
        payer = account(1, balance=Minor(100), overdraft_limit=Minor(50))
        exact = plan([payer, account(2)], [command(1, 2, 150)])
        assert posted(exact.outcomes[0]).transfer.debit_balance_after == -50

        beyond = plan([payer, account(2)], [command(1, 2, 151)])
        assert declined(beyond.outcomes[0]).decline.reason == Reason.INSUFFICIENT_FUNDS

    def test_money_on_hold_is_not_available(self) -> None:
        payer = account(1, balance=Minor(1_000), held=Minor(400))
        exact = plan([payer, account(2)], [command(1, 2, 600)])
        assert posted(exact.outcomes[0]).transfer.debit_held_after == 400

        beyond = plan([payer, account(2)], [command(1, 2, 601)])
        assert declined(beyond.outcomes[0]).decline.figures["available"] == "600"

    def test_an_external_account_has_no_floor(self) -> None:
        deposit = command(1, 2, 5_000, kind=TransferKind.DEPOSIT)
        planned = plan([external(1, balance=Minor(0)), account(2)], [deposit])
        assert posted(planned.outcomes[0]).transfer.debit_balance_after == -5_000

    def test_each_command_meets_the_state_that_the_one_before_left(self) -> None:
        one, two, three = account(1), account(2, balance=Minor(0)), account(3, balance=Minor(0))
        commands = [command(1, 2, 1_000), command(2, 3, 600), command(1, 3, 1), command(2, 1, 400)]

        planned = plan([one, two, three], commands)

        figures = [
            (done.transfer.debit_balance_after, done.transfer.debit_version)
            for done in planned.outcomes
            if isinstance(done, Posted)
        ]
        assert figures == [(0, 6), (400, 7), (0, 8)]
        assert declined(planned.outcomes[2]).decline.figures["available"] == "0"
        after = applied([one, two, three], planned)
        assert [(now.balance, now.version) for now in after] == [(400, 7), (0, 8), (600, 6)]

    def test_refused_and_declined_commands_leave_their_neighbours_alone(self) -> None:
        alone = plan([account(1), account(2)], [command(1, 2, 10), command(2, 1, 30)])
        among = plan(
            [account(1), account(2), account(3, status=AccountStatus.CLOSED)],
            [
                command(1, 1),
                command(1, 2, 10, key="a"),
                command(1, 99),
                command(1, 2, 999_999),
                command(3, 2),
                command(2, 1, 30, key="b"),
            ],
        )

        assert [row.key for row in among.keys if row.outcome is OutcomeKind.TRANSFER] == ["a", "b"]
        assert [row._replace(id=0) for row in among.transfers] == [  # type: ignore[arg-type]
            row._replace(id=0)  # type: ignore[arg-type]
            for row in alone.transfers
        ]

    def test_a_closed_payee_gets_nothing_and_a_frozen_one_does(self) -> None:
        to_frozen = plan([account(1), account(2, status=AccountStatus.FROZEN)], [command(1, 2)])
        posted(to_frozen.outcomes[0])
        to_closed = plan([account(1), account(2, status=AccountStatus.CLOSED)], [command(1, 2)])
        decline = declined(to_closed.outcomes[0]).decline
        assert (decline.reason, decline.figures) == (
            Reason.ACCOUNT_CLOSED,
            {"account": "2", "state": "CLOSED"},
        )


class TestTime:
    def test_an_entry_is_never_as_early_as_the_one_before_on_either_account(self) -> None:
        ahead = account(2, last_entry_us=NOW_US + 500)
        planned = plan([account(1), ahead, account(3)], [command(1, 2), command(1, 3)])

        times = [row.created_at_us for row in planned.transfers]
        assert times == [NOW_US + 501, NOW_US + 502]
        after = applied([account(1), ahead, account(3)], planned)
        assert [now.last_entry_us - NOW_US for now in after] == [502, 501, 502]

    def test_the_clock_decides_where_it_is_ahead(self) -> None:
        planned = plan([account(1, last_entry_us=NOW_US - 1), account(2)], [command(1, 2)])
        assert planned.transfers[0].created_at_us == NOW_US

    def test_entries_of_one_batch_on_one_account_are_a_microsecond_apart(self) -> None:
        planned = plan([account(1), account(2)], [command(1, 2, 1) for _ in range(4)])
        times = [row.created_at_us - NOW_US for row in planned.transfers]
        assert times == [0, 1, 2, 3]


class TestKeys:
    def test_a_second_copy_in_one_batch_is_a_replay(self) -> None:
        asked = command(1, 2, 600, details=Details(description="rent"), details_hash=b"h")

        planned = plan([account(1), account(2)], [asked, asked, asked])

        first, *copies = planned.outcomes
        for copy in copies:
            assert replace(posted(copy), replayed=False) == first
            assert posted(copy).replayed
        assert not posted(first).replayed
        assert len(planned.transfers) == len(planned.keys) == 1
        (after, _) = applied([account(1), account(2)], planned)
        assert after.balance == 400

    def test_a_second_copy_of_a_decline_is_a_replay(self) -> None:
        asked = command(1, 2, 6_000, details=Details(description="rent"), details_hash=b"h")
        planned = plan([account(1), account(2)], [asked, asked])
        assert replace(declined(planned.outcomes[1]), replayed=False) == planned.outcomes[0]
        assert len(planned.declines) == len(planned.keys) == 1

    def test_a_copy_is_answered_from_the_first_even_when_the_state_has_changed(self) -> None:
        asked = command(1, 2, 6_000)
        planned = plan(
            [account(1), account(2, balance=Minor(9_000))], [asked, command(2, 1, 9_000), asked]
        )
        assert declined(planned.outcomes[2]).replayed

    def test_the_same_key_with_another_body_is_refused_within_a_batch(self) -> None:
        asked = command(1, 2, 600)
        other = asked._replace(request_hash=b"other")
        planned = plan([account(1), account(2)], [asked, other])
        error = refused(planned.outcomes[1])
        assert (error.reason, error.metadata) == (
            Reason.IDEMPOTENCY_KEY_REUSED,
            {"key": asked.key},
        )
        assert len(planned.transfers) == 1

    def test_the_same_key_of_another_client_is_another_key(self) -> None:
        asked = command(1, 2, 100)
        grant = ("rival", GrantAction.TRANSFER, GrantScope.ALL, "")
        planned = plan(
            [account(1), account(2)], [asked, asked._replace(client="rival")], rules(grant)
        )
        assert not posted(planned.outcomes[1]).replayed

    def test_a_refusal_that_is_not_stored_leaves_the_key_free(self) -> None:
        asked = command(1, 99, key="k")
        planned = plan([account(1), account(2)], [asked, command(1, 2, key="k")])
        assert refused(planned.outcomes[0]).reason is Reason.ACCOUNT_NOT_FOUND
        assert not posted(planned.outcomes[1]).replayed

    def test_a_stored_transfer_is_given_again_with_its_first_position(self) -> None:
        asked = command(1, 2, 600, details=RENT, details_hash=b"h")
        first = posted(plan([account(1), account(2)], [asked]).outcomes[0])
        stored = {
            (CLIENT, asked.key): StoredOutcome(asked.request_hash, first.transfer, RENT, PLACE)
        }

        planned = plan([account(1, balance=Minor(0)), account(2)], [asked], stored=stored)

        assert planned.outcomes == [replace(first, replayed=True, position=PLACE)]
        assert_writes_nothing(planned)

    def test_a_stored_decline_is_given_again_though_funds_have_come(self) -> None:
        asked = command(1, 2, 6_000, details=RENT, details_hash=b"h")
        first = declined(plan([account(1), account(2)], [asked]).outcomes[0])
        stored = {
            (CLIENT, asked.key): StoredOutcome(asked.request_hash, first.decline, RENT, PLACE)
        }

        planned = plan([account(1, balance=Minor(9_000)), account(2)], [asked], stored=stored)

        assert planned.outcomes == [replace(first, replayed=True, position=PLACE)]
        assert_writes_nothing(planned)

    def test_a_stored_key_with_another_body_is_refused(self) -> None:
        asked = command(1, 2)
        first = posted(plan([account(1), account(2)], [asked]).outcomes[0])
        stored = {(CLIENT, asked.key): StoredOutcome(b"other", first.transfer, None, PLACE)}
        planned = plan([account(1), account(2)], [asked], stored=stored)
        assert refused(planned.outcomes[0]).reason is Reason.IDEMPOTENCY_KEY_REUSED
        assert_writes_nothing(planned)

    def test_a_key_that_opened_an_account_is_refused(self) -> None:
        asked = command(1, 2)
        stored = {(CLIENT, asked.key): StoredOutcome(asked.request_hash, None, None, PLACE)}
        planned = plan([account(1), account(2)], [asked], stored=stored)
        error = refused(planned.outcomes[0])
        assert error.reason is Reason.IDEMPOTENCY_KEY_REUSED
        assert error.metadata == {"key": asked.key}

    def test_a_replay_needs_no_proof_any_more(self) -> None:
        asked = approved_payment(command(1, 2, 10), "owner-1")
        first = posted(plan([account(1), account(2)], [asked]).outcomes[0])
        stored = {
            (CLIENT, asked.key): StoredOutcome(asked.request_hash, first.transfer, None, PLACE)
        }
        late = plan(
            [account(1), account(2)],
            [asked._replace(authorization=None)],
            rules(thresholds={}),
            stored=stored,
        )
        assert posted(late.outcomes[0]).replayed


class TestStepUp:
    def test_the_threshold_itself_needs_none(self) -> None:
        accounts = [account(1, balance=Minor(THRESHOLD * 2)), account(2)]
        at = plan(accounts, [command(1, 2, THRESHOLD)])
        assert posted(at.outcomes[0]).transfer.step_up is StepUpBasis.BELOW_THRESHOLD

        above = plan(accounts, [command(1, 2, THRESHOLD + 1)])
        error = refused(above.outcomes[0])
        assert error.reason is Reason.STEP_UP_REQUIRED
        assert error.metadata == {
            "kind": "TRANSFER",
            "account": "1",
            "payee": "2",
            "amount": str(THRESHOLD + 1),
            "currency": "EUR",
            "rule": "THRESHOLD",
            "threshold": str(THRESHOLD),
        }
        assert_writes_nothing(above)

    def test_a_currency_without_a_policy_needs_it_always(self) -> None:
        planned = plan([account(1), account(2)], [command(1, 2, 1)], rules(thresholds={"USD": 5}))
        assert refused(planned.outcomes[0]).reason is Reason.STEP_UP_REQUIRED

    @pytest.mark.parametrize("kind", list(ENDPOINTS))
    def test_whatever_takes_money_of_a_customer_needs_it(self, kind: TransferKind) -> None:
        payer, payee = {
            TransferKind.TRANSFER: (account(1), account(2)),
            TransferKind.DEPOSIT: (external(1), account(2)),
            TransferKind.WITHDRAWAL: (account(1), external(2)),
        }.get(kind, (account(1), account(2)))
        planned = plan([payer, payee], [command(1, 2, 1, kind=kind)], rules(thresholds={}))
        if kind is TransferKind.DEPOSIT:
            transfer = posted(planned.outcomes[0]).transfer
            assert transfer.step_up is StepUpBasis.NOT_APPLICABLE
        else:
            assert refused(planned.outcomes[0]).reason is Reason.STEP_UP_REQUIRED

    def test_an_exempt_client_is_recorded_as_such(self) -> None:
        exempt = rules((CLIENT, GrantAction.STEP_UP_EXEMPT, GrantScope.OWN, ""), thresholds={})
        planned = plan([account(1), account(2)], [command(1, 2, 1)], exempt)
        assert posted(planned.outcomes[0]).transfer.step_up is StepUpBasis.CLIENT_EXEMPT

    def test_an_exemption_holds_only_where_it_reaches(self) -> None:
        elsewhere = rules(
            (CLIENT, GrantAction.STEP_UP_EXEMPT, GrantScope.INSTITUTION, "other"), thresholds={}
        )
        planned = plan([account(1), account(2)], [command(1, 2, 1)], elsewhere)
        assert refused(planned.outcomes[0]).reason is Reason.STEP_UP_REQUIRED

    def test_an_authorization_is_stored_with_its_transfer(self) -> None:
        asked = approved_payment(command(1, 2, 10), "owner-1")
        proof = asked.authorization
        assert proof is not None
        planned = plan([account(1), account(2)], [asked], rules(thresholds={}))
        transfer = posted(planned.outcomes[0]).transfer
        assert (transfer.step_up, transfer.authorization_id) == (StepUpBasis.AUTHORIZED, 77)
        assert planned.authorizations == [AuthorizationRow(transfer.id, CLIENT, asked.key, proof)]

    def test_an_authorization_ends_at_its_expiry(self) -> None:
        def outcome(expires_at_us: int) -> object:
            asked = approved_payment(command(1, 2, 10), "owner-1", expires_at_us=expires_at_us)
            return plan([account(1), account(2)], [asked], rules(thresholds={})).outcomes[0]

        posted(outcome(NOW_US + 1))
        assert refused(outcome(NOW_US)).reason is Reason.AUTHORIZATION_EXPIRED

    @pytest.mark.parametrize(
        "changes",
        [
            {"kind": TransferKind.FEE},
            {"debit_account": AccountId(3)},
            {"credit_account": AccountId(3)},
            {"amount": Minor(11)},
            {"currency": "USD"},
            {"client": "rival"},
            {"key": "another"},
        ],
    )
    def test_an_authorization_is_for_no_other_payment(self, changes: dict[str, Any]) -> None:
        given = approved_payment(command(1, 2, 10), "owner-1").authorization
        other = command(1, 2, 10)._replace(**{**changes, "authorization": given})
        currency = other.currency
        on = [account(one, currency=currency, owner="owner-1") for one in (1, 2, 3)]
        rival = ("rival", GrantAction.TRANSFER, GrantScope.ALL, "")
        planned = plan(on, [other], rules(rival, thresholds={}))
        error = refused(planned.outcomes[0])
        assert (error.reason, error.metadata["why"]) == (
            Reason.AUTHORIZATION_INVALID,
            "other payment",
        )
        assert planned.authorizations == []

    def test_a_decline_stores_no_authorization(self) -> None:
        asked = approved_payment(command(1, 2, 5_000), "owner-1")
        planned = plan([account(1), account(2)], [asked], rules(thresholds={}))
        declined(planned.outcomes[0])
        assert planned.authorizations == []


class TestGrants:
    @pytest.mark.parametrize(
        ("scope", "institution", "opened_by", "allowed"),
        [
            (GrantScope.OWN, "", "rival", True),
            (GrantScope.OWN, "", CLIENT, False),
            (GrantScope.INSTITUTION, "bank", CLIENT, True),
            (GrantScope.INSTITUTION, "other", CLIENT, False),
            (GrantScope.ALL, "", CLIENT, True),
        ],
    )
    def test_a_debit_needs_a_grant_that_reaches_the_payer(
        self, scope: GrantScope, institution: str, opened_by: str, allowed: bool
    ) -> None:
        grant = ("rival", GrantAction.TRANSFER, scope, institution)
        asked = command(1, 2, client="rival")
        planned = plan([account(1, opened_by=opened_by), account(2)], [asked], rules(grant))
        if allowed:
            posted(planned.outcomes[0])
        else:
            error = refused(planned.outcomes[0])
            assert error.reason is Reason.NOT_PERMITTED
            assert error.metadata == {"account": "1", "grant": "TRANSFER"}

    def test_a_grant_for_one_kind_is_none_for_another(self) -> None:
        grant = ("rival", GrantAction.TRANSFER, GrantScope.ALL, "")
        asked = command(1, 2, client="rival", kind=TransferKind.WITHDRAWAL)
        planned = plan([account(1), external(2)], [asked], rules(grant))
        assert refused(planned.outcomes[0]).metadata["grant"] == "WITHDRAWAL"

    def test_crediting_needs_none(self) -> None:
        planned = plan([account(1), account(2, opened_by="rival")], [command(1, 2)])
        seen = posted(planned.outcomes[0]).visible
        assert (seen.debit, seen.credit) == (True, False)

    def test_a_reader_of_all_sees_both_balances(self) -> None:
        reader = rules((CLIENT, GrantAction.READ, GrantScope.ALL, ""))
        planned = plan([account(1), account(2, opened_by="rival")], [command(1, 2)], reader)
        seen = posted(planned.outcomes[0]).visible
        assert (seen.debit, seen.credit) == (True, True)


class TestKinds:
    @pytest.mark.parametrize("kind", list(ENDPOINTS))
    @pytest.mark.parametrize("debit", list(AccountKind))
    @pytest.mark.parametrize("credit", list(AccountKind))
    def test_each_kind_touches_the_accounts_it_is_for_and_no_others(
        self, kind: TransferKind, debit: AccountKind, credit: AccountKind
    ) -> None:
        legal = {
            (TransferKind.TRANSFER, AccountKind.CUSTOMER, AccountKind.CUSTOMER),
            (TransferKind.DEPOSIT, AccountKind.EXTERNAL, AccountKind.CUSTOMER),
            (TransferKind.WITHDRAWAL, AccountKind.CUSTOMER, AccountKind.EXTERNAL),
            (TransferKind.HOLD, AccountKind.CUSTOMER, AccountKind.CUSTOMER),
            (TransferKind.HOLD, AccountKind.CUSTOMER, AccountKind.EXTERNAL),
            (TransferKind.FEE, AccountKind.CUSTOMER, AccountKind.CUSTOMER),
            (TransferKind.NET_SETTLEMENT, AccountKind.CUSTOMER, AccountKind.CUSTOMER),
        }
        planned = plan(
            [account(1, kind=debit), account(2, kind=credit)], [command(1, 2, kind=kind)]
        )
        if (kind, debit, credit) in legal:
            posted(planned.outcomes[0])
        else:
            assert refused(planned.outcomes[0]).reason is Reason.ACCOUNT_KIND_MISMATCH


class TestRange:
    def test_a_balance_may_reach_the_end_of_int64_and_not_pass_it(self) -> None:
        payer, full = external(1, balance=Minor(0)), account(2, balance=Minor(MAX_MINOR - 10))
        fits = plan([payer, full], [command(1, 2, 10, kind=TransferKind.DEPOSIT)])
        assert posted(fits.outcomes[0]).transfer.credit_balance_after == MAX_MINOR
        over = plan([payer, full], [command(1, 2, 11, kind=TransferKind.DEPOSIT)])
        assert refused(over.outcomes[0]).reason is Reason.BALANCE_OVERFLOW
        assert_writes_nothing(over)

    def test_an_external_balance_may_reach_the_other_end(self) -> None:
        low = external(1, balance=Minor(MIN_MINOR + 10))
        fits = plan([low, account(2)], [command(1, 2, 10, kind=TransferKind.DEPOSIT)])
        assert posted(fits.outcomes[0]).transfer.debit_balance_after == MIN_MINOR
        over = plan([low, account(2)], [command(1, 2, 11, kind=TransferKind.DEPOSIT)])
        assert refused(over.outcomes[0]).reason is Reason.BALANCE_OVERFLOW


class TestExpectedVersions:
    @pytest.mark.parametrize("side", ["expected_debit_version", "expected_credit_version"])
    def test_another_version_is_refused_and_not_remembered(self, side: str) -> None:
        right = plan([account(1), account(2)], [command(1, 2, **{side: 5})])
        posted(right.outcomes[0])
        wrong = plan([account(1), account(2)], [command(1, 2, **{side: 4})])
        error = refused(wrong.outcomes[0])
        assert error.reason is Reason.VERSION_MISMATCH
        assert error.metadata == {
            "account": "1" if side == "expected_debit_version" else "2",
            "expected": "4",
            "actual": "5",
        }
        assert_writes_nothing(wrong)

    def test_the_version_is_that_after_the_commands_before(self) -> None:
        planned = plan(
            [account(1), account(2)],
            [command(1, 2), command(1, 2, expected_debit_version=6)],
        )
        posted(planned.outcomes[1])


@dataclass
class Scene:
    """A payment and the accounts that it concerns, with any number of faults in it."""

    payer: Account = field(default_factory=lambda: account(1))
    payee: Account = field(default_factory=lambda: account(2))
    asked: TransferCommand = field(
        default_factory=lambda: approved_payment(
            command(1, 2, key="k", request_hash=b"same"), "owner-1"
        )
    )
    stored: bool = False
    thresholds: dict[str, int] = field(default_factory=dict)

    def change_payer(self, **changes: Any) -> None:
        self.payer = self.payer._replace(**changes)

    def change_payee(self, **changes: Any) -> None:
        self.payee = self.payee._replace(**changes)

    def change_command(self, **changes: Any) -> None:
        self.asked = self.asked._replace(**changes)

    def change_authorization(self, **changes: Any) -> None:
        proof = self.asked.authorization
        assert proof is not None
        self.asked = self.asked._replace(authorization=proof._replace(**changes))

    def reason(self) -> str | None:
        """Why the payment is refused or declined; None when it posts."""
        stored = {
            (CLIENT, "k"): StoredOutcome(b"of another request", None, None, PLACE),
        }
        planned = plan(
            [self.payer, self.payee],
            [self.asked],
            rules(
                ("rival", GrantAction.READ, GrantScope.ALL, ""),
                thresholds=self.thresholds,
            ),
            stored=stored if self.stored else {},
        )
        (outcome,) = planned.outcomes
        if isinstance(outcome, Posted):
            return None
        if isinstance(outcome, Declined):
            return outcome.decline.reason
        return refused(outcome).reason


Fault = tuple[Reason, Callable[[Scene], None]]

FAULTS: Sequence[Fault] = (
    (Reason.IDEMPOTENCY_KEY_REUSED, lambda scene: setattr(scene, "stored", True)),
    (
        Reason.SAME_ACCOUNT,
        lambda scene: scene.change_command(credit_account=scene.asked.debit_account),
    ),
    (Reason.ACCOUNT_NOT_FOUND, lambda scene: scene.change_command(debit_account=99)),
    (Reason.NOT_PERMITTED, lambda scene: scene.change_payer(opened_by="rival")),
    (Reason.ACCOUNT_KIND_MISMATCH, lambda scene: scene.change_payee(kind=AccountKind.EXTERNAL)),
    (Reason.CURRENCY_MISMATCH, lambda scene: scene.change_payee(currency="USD")),
    (Reason.VERSION_MISMATCH, lambda scene: scene.change_command(expected_debit_version=77)),
    (Reason.AUTHORIZATION_INVALID, lambda scene: scene.change_authorization(user_id="other")),
    (Reason.AUTHORIZATION_EXPIRED, lambda scene: scene.change_authorization(expires_at_us=1)),
    (Reason.BALANCE_OVERFLOW, lambda scene: scene.change_payee(balance=MAX_MINOR)),
    (Reason.ACCOUNT_CLOSED, lambda scene: scene.change_payee(status=AccountStatus.CLOSED)),
    (Reason.ACCOUNT_FROZEN, lambda scene: scene.change_payer(status=AccountStatus.FROZEN)),
    (
        Reason.RISK_DECLINED,
        lambda scene: scene.change_command(risk=RiskVerdict(RiskDecision.DECLINE, "rule")),
    ),
    (Reason.INSUFFICIENT_FUNDS, lambda scene: scene.change_payer(balance=Minor(99))),
)
"""Every check of a command in the order in which they run."""


class TestPrecedence:
    @pytest.mark.parametrize("first", range(len(FAULTS)), ids=[reason for reason, _ in FAULTS])
    def test_of_several_faults_the_earliest_check_speaks(self, first: int) -> None:
        scene = Scene()
        # The last first: SAME_ACCOUNT copies whatever the debit account is by then.
        for _, spoil in reversed(FAULTS[first:]):
            spoil(scene)
        assert scene.reason() == FAULTS[first][0]

    def test_without_a_fault_it_posts(self) -> None:
        assert Scene().reason() is None

    def test_step_up_is_asked_for_before_funds_are_looked_at(self) -> None:
        scene = Scene()
        scene.change_command(authorization=None, amount=Minor(99_999))
        scene.change_payer(status=AccountStatus.CLOSED)
        assert scene.reason() == Reason.STEP_UP_REQUIRED

    def test_no_proof_is_asked_of_a_payment_with_another_version(self) -> None:
        scene = Scene()
        scene.change_command(authorization=None, expected_credit_version=1)
        assert scene.reason() == Reason.VERSION_MISMATCH

    def test_what_is_remembered_comes_last(self) -> None:
        of_others = {Reason.HOLD_NOT_OPEN, Reason.EXCEEDS_REMAINING}
        remembered = STORED_DECLINES - of_others
        last = [reason for reason, _ in FAULTS[-len(remembered) :]]
        assert set(last) == remembered


class TestWhatAskersMayLearn:
    """A client that may debit an account but not read it."""

    BLIND = ("rival", GrantAction.TRANSFER, GrantScope.ALL, "")
    SEEING = ("rival", GrantAction.READ, GrantScope.ALL, "")

    @pytest.mark.parametrize("reads", [False, True])
    def test_a_decline_knows_whether_its_asker_may_read_the_payer(self, reads: bool) -> None:
        asked = command(1, 2, 5_000, client="rival")
        grants = rules(self.BLIND, *([self.SEEING] if reads else []))

        planned = plan([account(1), account(2)], [asked, asked], grants)
        replayed = plan(
            [account(1), account(2)],
            [asked],
            grants,
            stored={
                ("rival", asked.key): StoredOutcome(
                    asked.request_hash, planned.declines[0], None, PLACE
                )
            },
        )

        for outcome in (*planned.outcomes, *replayed.outcomes):
            assert declined(outcome).payer_readable is reads

    def test_the_version_of_an_account_is_told_only_to_its_readers(self) -> None:
        asked = command(1, 2, client="rival", expected_credit_version=4)

        blind = plan([account(1), account(2)], [asked], rules(self.BLIND))
        seeing = plan([account(1), account(2)], [asked], rules(self.BLIND, self.SEEING))

        assert refused(blind.outcomes[0]).metadata == {"account": "2", "expected": "4"}
        assert "5" not in refused(blind.outcomes[0]).message
        assert refused(seeing.outcomes[0]).metadata["actual"] == "5"

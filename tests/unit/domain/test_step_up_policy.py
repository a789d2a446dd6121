"""When payers must approve: each rule at its boundary, alone, in a batch and in a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from paycore.domain.accounts import Account, AccountId
from paycore.domain.approvals import group_intent
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.grants import GrantAction, GrantScope
from paycore.domain.money import Minor
from paycore.domain.past import NO_PAST, PastRead, Spent, wanted_past
from paycore.domain.plan import AuthorizationRow, BatchState, Plan
from paycore.domain.planning import ids_needed, plan_batch
from paycore.domain.rules import Rules
from paycore.domain.step_up import Authorization, group_digest
from paycore.domain.step_up_policy import DAY_US, StepUpPolicy, StepUpRule
from paycore.domain.transfers import (
    Command,
    Declined,
    GroupCommand,
    GroupPosted,
    Outcome,
    Posted,
    Refused,
    StepUpBasis,
    TransferKind,
)
from tests.support.samples import CLIENT, NOW_US, account, authorization, command, external, rules

TODAY = NOW_US // DAY_US
EXEMPT = (CLIENT, GrantAction.STEP_UP_EXEMPT, GrantScope.OWN, "")
RICH = Minor(10**9)


def under(policy: StepUpPolicy, *grants: Any) -> Rules:
    return rules(*grants, policies={"EUR": policy})


def accounts(count: int = 4) -> dict[AccountId, Account]:
    return {AccountId(one): account(one, balance=RICH) for one in range(1, count + 1)}


def spent(total: int | None, payer: int = 1, day: int = TODAY) -> Mapping[AccountId, Spent]:
    return {AccountId(payer): Spent(day, total)}


def decided(
    commands: Sequence[Command],
    by: Rules,
    past: PastRead | None = None,
    *,
    now_us: int = NOW_US,
    on: dict[AccountId, Account] | None = None,
) -> Plan:
    ids = range(5_000, 5_000 + sum(map(ids_needed, commands)))
    on = accounts() if on is None else on
    return plan_batch(BatchState(on, {}, {}, 0, past or PastRead()), commands, by, now_us, ids)


def asked_by(outcome: Outcome) -> StepUpRule | None:
    """The rule that asks for an approval; None where the payment was let through below policy."""
    match outcome:
        case Posted(transfer=transfer):
            assert transfer.step_up is StepUpBasis.BELOW_THRESHOLD
            return None
        case Refused(error=PaycoreError(reason=Reason.STEP_UP_REQUIRED) as error):
            return StepUpRule(error.metadata["rule"])
        case _:
            raise AssertionError(outcome)


def bases(outcome: Outcome) -> list[StepUpBasis]:
    assert isinstance(outcome, GroupPosted), outcome
    return [one.transfer.step_up for one in outcome.transfers]


def group(*items: tuple[int, int, int], key: str = "g", **changes: Any) -> GroupCommand:
    legs = tuple(command(*item, key="", request_hash=b"") for item in items)
    return GroupCommand(CLIENT, key, b"h", legs, **changes)


def approved(asked: GroupCommand, payer: int, **changes: Any) -> GroupCommand:
    """`asked` with the approval of the owner of `payer`, beside those it has."""
    signed_at_us = NOW_US - 2_000_000
    digest = group_digest(group_intent(asked, AccountId(payer), signed_at_us))
    values = {"id": 70 + payer, "digest": digest, "signed_at_us": signed_at_us, **changes}
    given: Authorization = authorization(values.pop("user_id", f"owner-{payer}"), **values)
    return asked._replace(authorizations=(*asked.authorizations, (AccountId(payer), given)))


class TestThreshold:
    def test_above_means_strictly_above(self) -> None:
        policy = under(StepUpPolicy(100))
        assert asked_by(decided([command(1, 2, 100)], policy).outcomes[0]) is None
        assert asked_by(decided([command(1, 2, 101)], policy).outcomes[0]) is StepUpRule.THRESHOLD

    def test_the_refusal_says_what_must_be_authorized(self) -> None:
        (outcome,) = decided([command(1, 2, 101)], under(StepUpPolicy(100))).outcomes
        assert isinstance(outcome, Refused)
        assert outcome.error.metadata == {
            "kind": "TRANSFER",
            "account": "1",
            "payee": "2",
            "amount": "101",
            "currency": "EUR",
            "rule": "THRESHOLD",
            "threshold": "100",
        }

    def test_without_a_policy_the_refusal_says_so(self) -> None:
        (outcome,) = decided([command(1, 2, 1)], rules(policies={})).outcomes
        assert isinstance(outcome, Refused)
        assert outcome.error.metadata["rule"] == "NO_POLICY"
        assert "threshold" not in outcome.error.metadata


class TestFirstPayment:
    POLICY = under(StepUpPolicy(100, first_payment_threshold=30))

    def test_the_refusal_tells_its_own_threshold(self) -> None:
        (outcome,) = decided([command(1, 2, 31)], self.POLICY).outcomes
        assert isinstance(outcome, Refused)
        assert (outcome.error.metadata["rule"], outcome.error.metadata["threshold"]) == (
            "FIRST_PAYMENT",
            "30",
        )
        assert outcome.error.message

    def test_only_above_its_own_threshold(self) -> None:
        assert asked_by(decided([command(1, 2, 30)], self.POLICY).outcomes[0]) is None
        above = decided([command(1, 2, 31)], self.POLICY).outcomes[0]
        assert asked_by(above) is StepUpRule.FIRST_PAYMENT

    def test_not_to_a_payee_that_was_paid_before(self) -> None:
        known = PastRead({}, frozenset({(AccountId(1), AccountId(2))}))
        commands = [command(1, 2, 31), command(1, 3, 31), command(2, 1, 31)]
        outcomes = decided(commands, self.POLICY, known).outcomes
        assert list(map(asked_by, outcomes)) == [
            None,
            StepUpRule.FIRST_PAYMENT,
            StepUpRule.FIRST_PAYMENT,
        ]

    def test_a_payment_makes_its_payee_known_to_those_after_it(self) -> None:
        commands = [command(1, 2, 31), command(1, 2, 1), command(1, 2, 31)]
        outcomes = decided(commands, self.POLICY).outcomes
        assert list(map(asked_by, outcomes)) == [StepUpRule.FIRST_PAYMENT, None, None]

    def test_an_approved_payment_makes_its_payee_known_too(self) -> None:
        given = authorization("owner-1")
        commands = [command(1, 2, 60, authorization=given), command(1, 2, 31)]
        outcomes = decided(commands, self.POLICY).outcomes
        assert isinstance(outcomes[0], Posted)
        assert asked_by(outcomes[1]) is None

    def test_a_hold_makes_nobody_known(self) -> None:
        hold = command(1, 2, 5, kind=TransferKind.HOLD, expires_at_us=NOW_US + 9)
        outcomes = decided([hold, command(1, 2, 31)], self.POLICY).outcomes
        assert list(map(asked_by, outcomes)) == [None, StepUpRule.FIRST_PAYMENT]


class TestDailyTotal:
    POLICY = under(StepUpPolicy(100, daily_total=250))

    def test_the_total_itself_may_be_reached(self) -> None:
        past = PastRead(spent(200))
        assert asked_by(decided([command(1, 2, 50)], self.POLICY, past).outcomes[0]) is None
        above = decided([command(1, 2, 51)], self.POLICY, past).outcomes[0]
        assert asked_by(above) is StepUpRule.DAILY_TOTAL

    def test_the_refusal_tells_the_total_of_the_policy_and_not_what_is_spent(self) -> None:
        (outcome,) = decided([command(1, 2, 51)], self.POLICY, PastRead(spent(200))).outcomes
        assert isinstance(outcome, Refused)
        assert outcome.error.metadata["threshold"] == "250"
        assert "200" not in outcome.error.metadata.values()

    def test_payments_of_one_batch_count_for_each_other(self) -> None:
        commands = [command(1, 2, 100), command(1, 3, 100), command(1, 2, 51), command(1, 2, 50)]
        outcomes = decided(commands, self.POLICY, PastRead(spent(0))).outcomes
        assert list(map(asked_by, outcomes)) == [None, None, StepUpRule.DAILY_TOTAL, None]

    def test_a_hold_counts_when_it_is_set(self) -> None:
        hold = command(1, 2, 100, kind=TransferKind.HOLD, expires_at_us=NOW_US + 9)
        outcomes = decided([hold, command(1, 2, 51)], self.POLICY, PastRead(spent(100))).outcomes
        assert list(map(asked_by, outcomes)) == [None, StepUpRule.DAILY_TOTAL]

    def test_what_was_approved_or_declined_does_not_count(self) -> None:
        commands = [
            command(1, 2, 90, authorization=authorization("owner-1")),
            command(1, 9, 90),
            command(1, 2, 100),
        ]
        outcomes = decided(commands, self.POLICY, PastRead(spent(150))).outcomes
        assert isinstance(outcomes[0], Posted)
        assert outcomes[0].transfer.step_up is StepUpBasis.AUTHORIZED
        assert asked_by(outcomes[2]) is None

    def test_others_have_their_own_totals(self) -> None:
        past = PastRead({**spent(250), **spent(0, payer=2)})
        outcomes = decided([command(1, 2, 1), command(2, 1, 100)], self.POLICY, past).outcomes
        assert list(map(asked_by, outcomes)) == [StepUpRule.DAILY_TOTAL, None]

    def test_the_day_is_that_of_the_entry(self) -> None:
        midnight_us = (TODAY + 1) * DAY_US
        past = PastRead(spent(250))
        last = decided([command(1, 2, 1)], self.POLICY, past, now_us=midnight_us - 1)
        assert asked_by(last.outcomes[0]) is StepUpRule.DAILY_TOTAL
        first = decided([command(1, 2, 100)], self.POLICY, past, now_us=midnight_us)
        assert asked_by(first.outcomes[0]) is None
        # A clock that is behind does not lead back: the payee's last entry was after midnight.
        on = accounts()
        on[AccountId(2)] = account(2, last_entry_us=midnight_us)
        late = decided([command(1, 2, 100)], self.POLICY, past, now_us=midnight_us - 9, on=on)
        assert asked_by(late.outcomes[0]) is None

    def test_of_another_day_nothing_counts(self) -> None:
        all_at_once = under(StepUpPolicy(250, daily_total=250))
        past = PastRead(spent(250, day=TODAY - 1))
        assert asked_by(decided([command(1, 2, 250)], all_at_once, past).outcomes[0]) is None

    def test_two_days_in_one_batch_are_counted_apart(self) -> None:
        midnight_us = (TODAY + 1) * DAY_US
        on = accounts()
        on[AccountId(3)] = account(3, last_entry_us=midnight_us)
        commands = [command(1, 2, 50), command(1, 2, 1), command(1, 3, 100), command(1, 2, 100)]
        past = PastRead(spent(200))
        outcomes = decided(commands, self.POLICY, past, now_us=midnight_us - 9, on=on).outcomes
        assert list(map(asked_by, outcomes)) == [None, StepUpRule.DAILY_TOTAL, None, None]

    @pytest.mark.parametrize("read", [{}, spent(None), spent(0, day=TODAY + 1)])
    def test_what_is_not_known_is_too_much(self, read: Mapping[AccountId, Spent]) -> None:
        (outcome,) = decided([command(1, 2, 1)], self.POLICY, PastRead(read)).outcomes
        assert asked_by(outcome) is StepUpRule.DAILY_TOTAL


class TestExemption:
    def test_it_is_recorded_where_policy_hangs_on_the_past(self) -> None:
        by = under(StepUpPolicy(100, first_payment_threshold=30, daily_total=1), EXEMPT)
        commands = [command(1, 2, amount) for amount in (1, 31, 101)]
        outcomes = decided(commands, by).outcomes
        exempt = [one.transfer.step_up for one in outcomes if isinstance(one, Posted)]
        assert exempt == [StepUpBasis.CLIENT_EXEMPT] * 3

    def test_it_is_not_recorded_where_the_amount_alone_is_below(self) -> None:
        by = under(StepUpPolicy(100, first_payment_threshold=30), EXEMPT)
        assert asked_by(decided([command(1, 2, 30)], by).outcomes[0]) is None
        # Of a group it is what one payee gets that is below.
        several = decided([group((1, 2, 30), (1, 3, 30))], by).outcomes[0]
        assert bases(several) == [StepUpBasis.BELOW_THRESHOLD] * 2

    def test_it_holds_for_what_the_client_pays_by_a_group(self) -> None:
        by = under(StepUpPolicy(100), EXEMPT)
        exempt = decided([group((1, 2, 60), (1, 3, 60))], by).outcomes[0]
        assert bases(exempt) == [StepUpBasis.CLIENT_EXEMPT] * 2

    def test_what_is_exempt_does_not_count(self) -> None:
        by = under(
            StepUpPolicy(100, daily_total=100),
            ("payroll", GrantAction.STEP_UP_EXEMPT, GrantScope.ALL, ""),
            ("payroll", GrantAction.TRANSFER, GrantScope.ALL, ""),
        )
        commands = [command(1, 2, 90, client="payroll"), command(1, 2, 100), command(1, 2, 1)]
        outcomes = decided(commands, by, PastRead(spent(0))).outcomes
        assert isinstance(outcomes[0], Posted)
        assert outcomes[0].transfer.step_up is StepUpBasis.CLIENT_EXEMPT
        assert list(map(asked_by, outcomes[1:])) == [None, StepUpRule.DAILY_TOTAL]


class TestGroups:
    def test_a_payment_cut_into_pieces_is_one_payment(self) -> None:
        by = under(StepUpPolicy(100))
        assert (
            bases(decided([group((1, 2, 50), (1, 3, 50))], by).outcomes[0])
            == [StepUpBasis.BELOW_THRESHOLD] * 2
        )
        planned = decided([group((1, 2, 50), (1, 3, 51))], by)
        (outcome,) = planned.outcomes
        assert isinstance(outcome, Refused)
        assert outcome.error.metadata == {
            "account": "1",
            "total": "101",
            "payees": "2",
            "currency": "EUR",
            "rule": "THRESHOLD",
            "threshold": "100",
            "item": "0",
        }
        assert not planned.transfers
        assert not planned.keys

    def test_a_first_payment_cut_into_pieces_is_one(self) -> None:
        by = under(StepUpPolicy(100, first_payment_threshold=30))
        small = decided([group((1, 2, 15), (1, 2, 15), (1, 3, 30))], by).outcomes[0]
        assert bases(small) == [StepUpBasis.BELOW_THRESHOLD] * 3
        large = decided([group((1, 2, 1), (1, 2, 30))], by).outcomes[0]
        assert asked_by(large) is StepUpRule.FIRST_PAYMENT

    def test_a_days_total_holds_for_all_of_it(self) -> None:
        by = under(StepUpPolicy(100, daily_total=150))
        past = PastRead(spent(100))
        assert (
            bases(decided([group((1, 2, 25), (1, 3, 25))], by, past).outcomes[0])
            == [StepUpBasis.BELOW_THRESHOLD] * 2
        )
        above = decided([group((1, 2, 25), (1, 3, 26))], by, past).outcomes[0]
        assert asked_by(above) is StepUpRule.DAILY_TOTAL

    def test_a_group_that_fails_has_paid_nobody(self) -> None:
        by = under(StepUpPolicy(100, first_payment_threshold=30, daily_total=100))
        past = PastRead({**spent(0), **spent(0, payer=3)})
        # The second payer is asked after the first has paid; then the third item fails.
        failing = group((1, 2, 30), (3, 4, 30), (1, 99, 1))
        after = [command(1, 4, 1), command(4, 3, 1), command(1, 2, 31), command(1, 4, 99)]
        past = PastRead({**past.spent, **spent(0, payer=4)})
        outcomes = decided([failing, *after], by, past).outcomes
        assert isinstance(outcomes[0], Refused)
        assert list(map(asked_by, outcomes[1:])) == [None, None, StepUpRule.FIRST_PAYMENT, None]

    def test_what_was_paid_before_a_group_that_fails_still_counts(self) -> None:
        by = under(StepUpPolicy(100, first_payment_threshold=30, daily_total=100))
        before = [command(1, 2, 30), command(1, 3, 30)]
        # The second payer is asked after the first has paid; then the third item fails.
        failing = group((1, 4, 30), (3, 4, 1), (1, 99, 1))
        past = PastRead({**spent(0), **spent(0, payer=3)})
        commands: list[Command] = [*before, failing, command(1, 4, 31), command(1, 2, 40)]
        outcomes = decided(commands, by, past).outcomes
        assert list(map(asked_by, outcomes[:2])) == [None, None]
        assert isinstance(outcomes[2], Refused)
        assert list(map(asked_by, outcomes[3:])) == [StepUpRule.FIRST_PAYMENT, None]
        over = decided([*commands[:3], command(1, 2, 41)], by, past).outcomes
        assert asked_by(over[3]) is StepUpRule.DAILY_TOTAL

    def test_each_payer_above_policy_approves_its_part(self) -> None:
        by = under(StepUpPolicy(100))
        plain = group((1, 4, 60), (2, 4, 60), (1, 3, 60), (3, 4, 10), (2, 3, 60))
        one, both = approved(plain, 1), approved(approved(plain, 1), 2)
        (outcome,) = decided([one], by).outcomes
        assert isinstance(outcome, Refused)
        assert (outcome.error.metadata["account"], outcome.error.metadata["item"]) == ("2", "1")

        planned = decided([both], by)
        (outcome,) = planned.outcomes
        authorized, below = StepUpBasis.AUTHORIZED, StepUpBasis.BELOW_THRESHOLD
        assert bases(outcome) == [authorized, authorized, authorized, below, authorized]
        assert isinstance(outcome, GroupPosted)
        ids = [transfer.transfer.authorization_id for transfer in outcome.transfers]
        assert ids == [71, 72, 71, None, 72]
        assert planned.authorizations == [
            AuthorizationRow(None, CLIENT, "g", given, outcome.id, payer)
            for payer, given in both.authorizations
        ]

    @pytest.mark.parametrize(
        ("changes", "reason", "why"),
        [
            ({"user_id": "owner-2"}, Reason.AUTHORIZATION_INVALID, "other user"),
            ({"digest": bytes(32)}, Reason.AUTHORIZATION_INVALID, "other group"),
            ({"expires_at_us": NOW_US}, Reason.AUTHORIZATION_EXPIRED, "expired"),
        ],
    )
    def test_an_approval_is_by_the_owner_for_this_group_and_fresh(
        self, changes: dict[str, Any], reason: Reason, why: str
    ) -> None:
        asked = approved(group((1, 2, 101)), 1, **changes)
        planned = decided([asked], under(StepUpPolicy(100)))
        (outcome,) = planned.outcomes
        assert isinstance(outcome, Refused)
        assert outcome.error.reason is reason
        assert outcome.error.metadata == {"account": "1", "why": why, "item": "0"}
        assert outcome.error.message
        assert not planned.authorizations

    @pytest.mark.parametrize(
        "other",
        [
            group((1, 2, 102)),
            group((1, 3, 101)),
            group((1, 2, 101), (3, 4, 1)),
            group((1, 2, 100), (1, 2, 1)),
            group((1, 2, 101), key="h"),
        ],
    )
    def test_an_approval_is_for_no_other_group(self, other: GroupCommand) -> None:
        given = approved(group((1, 2, 101)), 1).authorizations
        (outcome,) = decided(
            [other._replace(authorizations=given)], under(StepUpPolicy(1))
        ).outcomes
        assert isinstance(outcome, Refused)
        assert outcome.error.reason is Reason.AUTHORIZATION_INVALID

    def test_a_declined_group_stores_no_approval(self) -> None:
        on = {**accounts(), AccountId(1): account(1, balance=Minor(100))}
        asked = approved(group((1, 2, 101)), 1)
        planned = decided([asked], under(StepUpPolicy(100)), on=on)
        assert isinstance(planned.outcomes[0], Declined)
        assert not planned.authorizations

    def test_an_approval_of_nothing_sensitive_is_not_stored(self) -> None:
        legs = (command(1, 2, 500, kind=TransferKind.FEE, key="", request_hash=b""),)
        asked = approved(GroupCommand(CLIENT, "g", b"h", legs), 1)
        planned = decided([asked], under(StepUpPolicy(100)))
        assert bases(planned.outcomes[0]) == [StepUpBasis.NOT_APPLICABLE]
        assert not planned.authorizations


@pytest.mark.parametrize(
    ("policy", "hangs"),
    [
        (StepUpPolicy(100), False),
        (StepUpPolicy(100, first_payment_threshold=30), True),
        (StepUpPolicy(100, daily_total=250), True),
        (StepUpPolicy(100, first_payment_threshold=30, daily_total=250), True),
    ],
)
def test_policy_hangs_on_the_past_where_one_of_its_rules_does(
    policy: StepUpPolicy, hangs: bool
) -> None:
    assert under(policy).hanging == ({"EUR"} if hangs else set())


class TestWhatIsRead:
    ALL = StepUpPolicy(100, first_payment_threshold=30, daily_total=1_000)

    def test_nothing_where_no_policy_hangs_on_the_past(self) -> None:
        assert wanted_past([command(1, 2, 1)], under(StepUpPolicy(100)), accounts()) is NO_PAST

    def test_nothing_for_what_it_does_not_matter_to(self) -> None:
        by = under(self.ALL, ("payroll", *EXEMPT[1:2], GrantScope.ALL, ""))
        commands: list[Command] = [
            command(1, 2, 101),
            command(1, 2, 50, authorization=authorization("owner-1")),
            command(1, 2, 50, client="payroll"),
            command(1, 2, 50, kind=TransferKind.FEE),
            command(1, 2, 50, currency="USD"),
            command(77, 2, 50),
            approved(group((1, 2, 50), (1, 3, 40)), 1),
            group((1, 2, 50), (1, 3, 51)),
        ]
        assert wanted_past(commands, by, accounts()) is NO_PAST

    def test_the_payer_for_the_day_and_the_pair_for_a_first_payment(self) -> None:
        commands: list[Command] = [
            command(1, 2, 30),
            command(2, 3, 31),
            group((3, 1, 16), (3, 1, 16), (3, 2, 16)),
        ]
        wanted = wanted_past(commands, under(self.ALL), accounts())
        assert wanted.payers == {1, 2, 3}
        assert wanted.pairs == {(2, 3), (3, 1)}
        first_only = under(StepUpPolicy(100, first_payment_threshold=30))
        wanted = wanted_past(commands, first_only, accounts())
        assert (wanted.payers, wanted.pairs) == (set(), {(2, 3), (3, 1)})
        day_only = under(StepUpPolicy(100, daily_total=1_000))
        wanted = wanted_past(commands, day_only, accounts())
        assert (wanted.payers, wanted.pairs) == ({1, 2, 3}, set())

    def test_of_a_group_each_payer_that_is_not_settled(self) -> None:
        commands = [group((77, 2, 50), (1, 2, 101), (3, 2, 40))]
        wanted = wanted_past(commands, under(self.ALL), accounts())
        assert (wanted.payers, wanted.pairs) == ({3}, {(3, 2)})


def test_withdrawals_count_like_transfers() -> None:
    on = {**accounts(), AccountId(5): external(5)}
    commands = [command(1, 5, 60, kind=TransferKind.WITHDRAWAL), command(1, 2, 41)]
    by = under(StepUpPolicy(100, daily_total=100))
    outcomes = decided(commands, by, PastRead(spent(0)), on=on).outcomes
    assert list(map(asked_by, outcomes)) == [None, StepUpRule.DAILY_TOTAL]

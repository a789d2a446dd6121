"""Whatever is asked in whatever order, the plan agrees with the model and the ledger is whole."""

from __future__ import annotations

import random

from hypothesis import Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from paycore.domain.accounts import Account, AccountId, AccountKind, AccountStatus
from paycore.domain.grants import Grant, GrantAction, Grants, GrantScope
from paycore.domain.money import Currency, Minor
from paycore.domain.plan import Key, Plan, StoredOutcome
from paycore.domain.planning import ids_needed, plan_batch
from paycore.domain.position import Position
from paycore.domain.rules import Rules
from paycore.domain.step_up_policy import StepUpPolicy
from paycore.domain.transfers import Declined, GroupPosted, Outcome, Posted
from tests.support.ledger_model import in_domain
from tests.support.ledger_model.asked import Command
from tests.support.ledger_model.author import Author
from tests.support.ledger_model.books import Books, ModelGrant
from tests.support.ledger_model.ledger import ModelLedger
from tests.support.ledger_model.likeness import Names, difference
from tests.support.ledger_model.told import Changed
from tests.support.ledger_model.told import Refused as ModelRefused
from tests.support.ledger_model.world import CLEARING, CLIENTS, GRANTS, books
from tests.support.planned_tables import PlannedTables, assert_whole

POLICIES = (
    StepUpPolicy(80),
    StepUpPolicy(80, first_payment_threshold=30),
    StepUpPolicy(80, daily_total=400),
    StepUpPolicy(300, first_payment_threshold=10, daily_total=600),
)

BRANCH = ModelGrant("branch", "TRANSFER", "north")
"""A client that reaches the accounts of one institution, and may not read them."""

FIRST_ACCOUNT, FIRST_TRANSFER = 10**15, 2 * 10**15
"""Ids, far from numbers and from all amounts but the largest."""

BEGIN_US = 10**9


def rules(policy: StepUpPolicy) -> Rules:
    """GRANTS, and `policy` for EUR."""
    scopes = {"OWN": GrantScope.OWN, "ALL": GrantScope.ALL}
    return Rules(
        Grants.of(
            Grant(
                one.client,
                GrantAction(one.action),
                scopes.get(one.scope, GrantScope.INSTITUTION),
                "" if one.scope in scopes else one.scope,
            )
            for one in (*GRANTS, BRANCH, CLEARING)
        ),
        {"EUR": policy},
    )


def opened(model: Books, names: Names) -> dict[AccountId, Account]:
    """The model's accounts as the tables hold them."""
    for number in model.accounts:
        names.accounts[number] = FIRST_ACCOUNT + number
    return {
        AccountId(FIRST_ACCOUNT + number): Account(
            id=AccountId(FIRST_ACCOUNT + number),
            kind=AccountKind.EXTERNAL if one.outside else AccountKind.CUSTOMER,
            status=AccountStatus(one.status),
            currency=Currency(one.currency),
            owner="someone",
            institution=one.institution,
            opened_by=one.opened_by,
            balance=Minor(0),
            held=Minor(0),
            overdraft_limit=Minor(one.overdraft),
            version=0,
            revision=one.revision,
            last_entry_us=0,
            created_at_us=0,
        )
        for number, one in model.accounts.items()
    }


def rows(plan: Plan) -> object:
    """What is written."""
    return plan.transfers, plan.declines, plan.groups, plan.keys


chances = st.randoms(use_true_random=True)
"""Only seeds are drawn: what hypothesis would draw in their stead are programs without variety."""

clients = st.sampled_from((*CLIENTS, BRANCH.client, CLEARING.client))

steps_us = st.integers(-4, 25)
"""Clocks of several processes: later, earlier, the same."""

aparts_us = st.integers(-30, 30)
"""How far the clock of the tables is from that of the process which decides a batch."""


class LedgerMachine(RuleBasedStateMachine):
    """Commands wait until a batch is decided; the model decides each in the same order."""

    def __init__(self) -> None:
        super().__init__()
        self.names = Names()
        self.model = ModelLedger(books({}, BRANCH, CLEARING))
        self.in_force = rules(POLICIES[0])
        self.tables = PlannedTables(opened(self.model.books, self.names))
        self.waiting: list[Command] = []
        self.now_us = BEGIN_US
        self.next_id = FIRST_TRANSFER
        self.first_answers: dict[Key, Outcome] = {}
        self.author = Author(
            self.model.books,
            random.Random(0),
            (*CLIENTS, BRANCH.client, CLEARING.client),
            near_us=(5, 20, 60),
            judged=True,
        )

    @initialize(chance=chances, policy=st.sampled_from(POLICIES))
    def fund(self, chance: random.Random, policy: StepUpPolicy) -> None:
        """Give the customers something to begin with."""
        self.in_force = rules(policy)
        by_currency = (
            (self.model.books.thresholds, policy.threshold),
            (self.model.books.first_thresholds, policy.first_payment_threshold),
            (self.model.books.daily_totals, policy.daily_total),
        )
        for amounts, amount in by_currency:
            if amount is not None:
                amounts["EUR"] = amount
        self.author.chance = chance
        self.waiting += self.author.deposits(150)
        self.decide(0, 0)

    @rule(chance=chances, client=clients, times=st.integers(1, 3))
    def pay(self, chance: random.Random, client: str, times: int) -> None:
        self.author.chance = chance
        self.waiting += [self.author.payment(client, self.now_us) for _ in range(times)]

    @rule(chance=chances, client=clients)
    def hold(self, chance: random.Random, client: str) -> None:
        self.author.chance = chance
        self.waiting.append(self.author.hold(client, self.now_us))

    @rule(chance=chances, client=clients, times=st.integers(1, 3))
    def follow(self, chance: random.Random, client: str, times: int) -> None:
        self.author.chance = chance
        self.waiting += [self.author.following(client, self.now_us) for _ in range(times)]

    @rule(chance=chances, client=clients)
    def group(self, chance: random.Random, client: str) -> None:
        self.author.chance = chance
        self.waiting.append(self.author.together(client, self.now_us))

    @rule(chance=chances, client=clients)
    def ask_again(self, chance: random.Random, client: str) -> None:
        self.author.chance = chance
        self.waiting.append(self.author.again(client, self.now_us))

    @rule(chance=chances, times=st.integers(1, 20), step_us=steps_us, apart_us=aparts_us)
    def ask_and_decide(
        self, chance: random.Random, times: int, step_us: int, apart_us: int
    ) -> None:
        self.author.chance = chance
        for _ in range(times):
            self.waiting.append(self.author.any_command(now_us=self.now_us))
        self.decide(step_us, apart_us)

    @rule(chance=chances)
    def expire(self, chance: random.Random) -> None:
        self.author.chance = chance
        expiry = self.author.expiry(self.now_us)
        self.waiting += [expiry] if expiry else []

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def ask_twice_in_one_batch(self, data: st.DataObject) -> None:
        self.waiting.append(data.draw(st.sampled_from(self.waiting)))

    @precondition(lambda self: not self.waiting)
    @rule(chance=chances, client=st.sampled_from(("app", "operator")))
    def change_account(self, chance: random.Random, client: str) -> None:
        self.author.chance = chance
        asked = self.author.change("operator" if chance.random() < 0.9 else client)
        told = self.model.decide(asked, self.now_us)
        self.author.answered([asked])
        if isinstance(told, Changed) and not told.replayed:
            self.tables.change(
                AccountId(self.names.account(asked.account)),
                status=AccountStatus(told.status),
                revision=told.revision,
                overdraft_limit=Minor(told.limit),
            )
            self.tables.stored[(asked.client, asked.key)] = StoredOutcome(
                b"status", None, None, Position(1, 1, 1)
            )

    @precondition(lambda self: self.waiting)
    @rule(step_us=steps_us, apart_us=aparts_us)
    def decide(self, step_us: int, apart_us: int) -> None:
        """One batch; a parent must be there before it."""
        self.now_us += step_us
        self.tables.clock_us = self.now_us + apart_us
        asked, self.waiting = self.waiting, []
        commands = [in_domain.command(one, self.model.books, self.names) for one in asked]
        needed = sum(map(ids_needed, commands))
        ids = range(self.next_id, self.next_id + needed)
        self.next_id += needed
        state = self.tables.state(commands, self.in_force)
        plan = plan_batch(state, commands, self.in_force, self.now_us, ids)
        again = plan_batch(state, commands, self.in_force, self.now_us, ids)
        assert rows(again) == rows(plan), "the same batch was decided otherwise"
        place = self.tables.apply(plan)
        for one, outcome in zip(asked, plan.outcomes, strict=True):
            expected = self.model.decide(one, self.now_us, self.tables.clock_us)
            seen = in_domain.told(outcome, expected, self.names)
            event(f"{type(one).__name__} {getattr(expected, 'reason', type(expected).__name__)}")
            if isinstance(expected, ModelRefused) and "rule" in expected.figures:
                event(f"{type(one).__name__} {expected.figures['rule']}")
            other = difference(expected, seen)
            assert other is None, f"{one}: {other}\n{expected}\n{seen}"
            self._check_replay((one.client, one.key), outcome, place)
        self.author.answered(asked)

    def _check_replay(self, key: Key, outcome: Outcome, place: Position) -> None:
        """A replay equals the first answer in all but the mark, its position included."""
        if not isinstance(outcome, Posted | GroupPosted | Declined):
            return
        if not outcome.replayed:
            assert key not in self.first_answers
            outcome.position = place
            self.first_answers[key] = outcome
            return
        first = self.first_answers[key]
        assert isinstance(first, Posted | GroupPosted | Declined)
        # Within the batch of the first the position is not known yet: the store fills both in.
        assert outcome.position in (None, first.position)
        match outcome, first:
            case Posted(), Posted():
                assert outcome.transfer == first.transfer
            case Declined(), Declined():
                assert outcome.decline == first.decline
            case GroupPosted(), GroupPosted():
                assert outcome.id == first.id
                rows = [one.transfer for one in first.transfers]
                assert [one.transfer for one in outcome.transfers] == rows
            case _:
                raise AssertionError("a replay of another kind than the first answer")

    @invariant()
    def the_ledger_is_whole(self) -> None:
        assert_whole(self.tables.accounts.values(), self.tables.transfers.values())

    @invariant()
    def both_hold_the_same(self) -> None:
        books = self.model.books
        for number, model in books.accounts.items():
            account = self.tables.accounts[AccountId(self.names.account(number))]
            assert account.balance == books.balance(number)
            assert account.held == books.held(number)
            assert account.version == books.version(number)
            assert account.status == model.status
        assert len(self.tables.transfers) == len(books.movements)


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(
    stateful_step_count=40,
    # To explain a failure costs minutes, and says less than the program that is printed.
    phases=[phase for phase in Phase if phase is not Phase.explain],
)

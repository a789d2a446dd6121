"""Whatever is asked in whatever order, the plan agrees with the model and the ledger is whole."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import cast

from hypothesis import event, given
from hypothesis import strategies as st

from paycore.domain.accounts import Account, AccountId, AccountKind, AccountStatus
from paycore.domain.errors import Reason
from paycore.domain.grants import Grant, GrantAction, Grants, GrantScope
from paycore.domain.money import Currency, Minor
from paycore.domain.plan import BatchState, Key, OutcomeKind, Plan, StoredOutcome
from paycore.domain.planning import plan_batch
from paycore.domain.position import Position
from paycore.domain.rules import Rules
from paycore.domain.transfers import (
    Decline,
    Declined,
    Outcome,
    Posted,
    Refused,
    Transfer,
    TransferCommand,
    TransferKind,
)
from tests.support.applied_plans import apply_transfers
from tests.support.ledger_model import Asked, ModelAccount, ModelLedger, Verdict

CLIENTS = ("shop", "rival")
OUTSIDE = 1
"""The external account; customers follow."""
EARLIEST_US = 1_000_000

RULES = Rules(
    Grants.of(
        Grant(client, action, GrantScope.OWN)
        for client in CLIENTS
        for action in (
            GrantAction.TRANSFER,
            GrantAction.DEPOSIT,
            GrantAction.WITHDRAWAL,
            GrantAction.READ,
        )
    ),
    {"EUR": 80},
)


@dataclass
class Tables:
    """What the database would hold, fed by plans only, guards checked."""

    accounts: dict[AccountId, Account]
    stored: dict[Key, StoredOutcome] = field(default_factory=dict)
    transfers: list[Transfer] = field(default_factory=list)
    batches: int = 0

    def apply(self, planned: Plan) -> Position:
        """Write `planned` as the posting transaction does."""
        self.batches += 1
        place = Position(1, 100 + self.batches, self.batches)
        apply_transfers(self.accounts, planned.transfers)
        rows: dict[int, Transfer | Decline] = {row.id: row for row in planned.transfers}
        rows |= {row.id: row for row in planned.declines}
        assert len(rows) == len(planned.transfers) + len(planned.declines) == len(planned.keys)
        for key in planned.keys:
            assert (key.client, key.key) not in self.stored
            row = rows[key.outcome_id]
            assert (key.outcome is OutcomeKind.DECLINE) == isinstance(row, Decline)
            self.stored[(key.client, key.key)] = StoredOutcome(key.request_hash, row, None, place)
        self.transfers.extend(planned.transfers)
        return place


@dataclass(frozen=True)
class Batch:
    """Commands decided together at one time."""

    now_us: int
    asked: tuple[Asked, ...]


@dataclass(frozen=True)
class Turn:
    """An account's status is changed."""

    account: int
    status: str


customers = st.integers(2, 5)
anyone = st.integers(OUTSIDE, 6)
commands = st.builds(
    Asked,
    client=st.sampled_from(("shop", "shop", "shop", "rival")),
    key=st.integers(0, 40).map(str),
    kind=st.sampled_from(("TRANSFER", "TRANSFER", "DEPOSIT", "WITHDRAWAL")),
    debit=anyone,
    credit=anyone,
    amount=st.integers(1, 90),
    currency=st.sampled_from(("EUR",) * 9 + ("USD",)),
    expected_debit_version=st.one_of(st.none(), st.none(), st.none(), st.integers(0, 9)),
)
sensible = st.one_of(
    st.builds(
        Asked,
        client=st.just("shop"),
        key=st.integers(0, 400).map(str),
        kind=st.just("TRANSFER"),
        debit=customers,
        credit=customers,
        amount=st.integers(1, 60),
    ),
    st.builds(
        Asked,
        client=st.just("shop"),
        key=st.integers(0, 400).map(str),
        kind=st.just("DEPOSIT"),
        debit=st.just(OUTSIDE),
        credit=customers,
        amount=st.integers(1, 200),
    ),
)
steps = st.one_of(
    st.builds(
        Batch,
        # Clocks of several processes: later, earlier, the same.
        now_us=st.integers(EARLIEST_US, EARLIEST_US + 50),
        asked=st.lists(st.one_of(commands, sensible), min_size=1, max_size=12).map(tuple),
    ),
    st.builds(Turn, account=customers, status=st.sampled_from(("ACTIVE", "FROZEN", "CLOSED"))),
)
overdrafts = st.lists(st.sampled_from((0, 0, 25, 100)), min_size=4, max_size=4)


def opened(number: int, overdraft: int) -> tuple[Account, ModelAccount]:
    """The same account for both; 5 is the rival's, 6 does not exist."""
    outside = number == OUTSIDE
    opener = "rival" if number == 5 else "shop"
    real = Account(
        id=AccountId(number),
        kind=AccountKind.EXTERNAL if outside else AccountKind.CUSTOMER,
        status=AccountStatus.ACTIVE,
        currency=Currency("EUR"),
        owner="someone",
        institution="bank",
        opened_by=opener,
        balance=Minor(0),
        held=Minor(0),
        overdraft_limit=Minor(overdraft),
        version=0,
        revision=0,
        last_entry_us=0,
        created_at_us=0,
    )
    return real, ModelAccount(outside=outside, overdraft=overdraft, opened_by=opener)


def translated(asked: Asked) -> TransferCommand:
    return TransferCommand(
        client=asked.client,
        key=asked.key,
        request_hash=repr(asked.body).encode(),
        kind=TransferKind(asked.kind),
        debit_account=AccountId(asked.debit),
        credit_account=AccountId(asked.credit),
        amount=Minor(asked.amount),
        currency=Currency(asked.currency),
        expected_debit_version=asked.expected_debit_version,
    )


def as_verdict(outcome: Outcome) -> Verdict:
    if isinstance(outcome, Posted):
        transfer = outcome.transfer
        return Verdict(
            "POSTED",
            outcome.replayed,
            transfer.debit_balance_after,
            transfer.credit_balance_after,
            transfer.debit_version,
            transfer.credit_version,
        )
    if isinstance(outcome, Declined):
        decline = outcome.decline
        available = decline.figures.get("available")
        return Verdict(
            decline.reason,
            outcome.replayed,
            available=None if available is None else int(available),
        )
    assert isinstance(outcome, Refused), outcome
    return Verdict(outcome.error.reason.value)


def assert_whole(tables: Tables) -> None:
    """The promises of the ledger, read from the rows alone."""
    assert sum(account.balance for account in tables.accounts.values()) == 0
    entries: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for row in tables.transfers:
        assert row.amount > 0
        assert row.debit_account != row.credit_account
        entries[row.debit_account].append(
            (row.debit_version, row.created_at_us, row.debit_balance_after)
        )
        assert row.credit_version is not None
        assert row.credit_balance_after is not None
        entries[row.credit_account].append(
            (row.credit_version, row.created_at_us, row.credit_balance_after)
        )
    for account_id, account in tables.accounts.items():
        chain = sorted(entries[account_id])
        assert [version for version, _, _ in chain] == list(range(1, account.version + 1))
        times = [time for _, time, _ in chain]
        assert all(early < late for early, late in pairwise(times))
        if chain:
            assert chain[-1][1:] == (account.last_entry_us, account.balance)
        if account.kind is AccountKind.CUSTOMER:
            assert all(balance >= -account.overdraft_limit for _, _, balance in chain)


@given(steps=st.lists(steps, min_size=1, max_size=12), overdrafts=overdrafts)
def test_the_plan_agrees_with_the_model(steps: list[Batch | Turn], overdrafts: list[int]) -> None:
    pairs = {
        number: opened(number, limit) for number, limit in enumerate((0, *overdrafts), start=1)
    }
    tables = Tables({real.id: real for real, _ in pairs.values()})
    model = ModelLedger(
        {number: other for number, (_, other) in pairs.items()}, dict(RULES.step_up_thresholds)
    )
    first_answers: dict[Key, Outcome] = {}
    next_id = 1
    for step in steps:
        if isinstance(step, Turn):
            account = tables.accounts[AccountId(step.account)]
            tables.accounts[account.id] = account._replace(
                status=AccountStatus(step.status), revision=account.revision + 1
            )
            model.accounts[step.account].status = step.status
            continue
        real = [translated(asked) for asked in step.asked]
        ids = range(next_id, next_id + len(real))
        next_id += len(real)

        planned = plan_batch(
            BatchState(tables.accounts, tables.stored), real, RULES, step.now_us, ids
        )
        place = tables.apply(planned)

        expected = [model.decide(asked) for asked in step.asked]
        assert [as_verdict(outcome) for outcome in planned.outcomes] == expected
        for one, outcome in zip(real, planned.outcomes, strict=True):
            event(as_verdict(outcome).word)
            _assert_replays_equal(first_answers, one, outcome, place)
        assert_whole(tables)


def _assert_replays_equal(
    first_answers: dict[Key, Outcome], one: TransferCommand, outcome: Outcome, place: Position
) -> None:
    """A replay equals the first answer in all but the mark, its position included."""
    if not isinstance(outcome, Posted | Declined):
        return
    key = (one.client, one.key)
    if not outcome.replayed:
        assert key not in first_answers
        outcome.position = place
        first_answers[key] = outcome
        return
    first = cast("Posted | Declined", first_answers[key])
    if isinstance(outcome, Posted):
        assert isinstance(first, Posted)
        assert outcome.transfer == first.transfer
    else:
        assert isinstance(first, Declined)
        assert outcome.decline == first.decline
    # Within the batch of the first the position is not known yet: the store fills both in.
    assert outcome.position in (None, first.position)


@given(
    amounts=st.lists(st.integers(1, 50), min_size=1, max_size=30),
    clocks=st.lists(st.integers(0, 10), min_size=1, max_size=5),
    cuts=st.lists(st.integers(1, 7), min_size=1, max_size=30),
)
def test_how_commands_fall_into_batches_changes_no_outcome(
    amounts: list[int], clocks: list[int], cuts: list[int]
) -> None:
    asked = [
        translated(
            Asked("shop", str(number), "TRANSFER", 2 + number % 3, 2 + (number + 1) % 3, amount)
        )
        for number, amount in enumerate(amounts)
    ]

    def decide(sizes: list[int]) -> list[Verdict]:
        accounts = {
            real.id: real._replace(balance=Minor(60))
            for real in (opened(number, 0)[0] for number in (2, 3, 4))
        }
        tables, verdicts, start, turn = Tables(accounts), [], 0, 0
        while start < len(asked):
            part = asked[start : start + sizes[turn % len(sizes)]]
            planned = plan_batch(
                BatchState(tables.accounts, tables.stored),
                part,
                RULES,
                EARLIEST_US + clocks[turn % len(clocks)],
                range(start + 1, start + 1 + len(part)),
            )
            tables.apply(planned)
            verdicts += [as_verdict(outcome) for outcome in planned.outcomes]
            start, turn = start + len(part), turn + 1
        return verdicts

    assert decide(cuts) == decide([len(asked)])


@given(seed=st.lists(st.one_of(commands, sensible), min_size=1, max_size=30))
def test_deciding_the_same_batch_anew_gives_the_same_plan(seed: list[Asked]) -> None:
    accounts = {
        real.id: real._replace(balance=Minor(100))
        for real in (opened(number, 10)[0] for number in range(1, 6))
    }
    real = [translated(asked) for asked in seed]
    state, ids = BatchState(accounts, {}), range(1, len(real) + 1)

    def comparable(planned: Plan) -> object:
        verdicts = [as_verdict(outcome) for outcome in planned.outcomes]
        return verdicts, planned.transfers, planned.declines, planned.keys

    once = plan_batch(state, real, RULES, EARLIEST_US, ids)
    again = plan_batch(state, real, RULES, EARLIEST_US, ids)
    assert comparable(once) == comparable(again)
    assert len(once.outcomes) == len(real)
    refusals = {as_verdict(outcome).word for outcome in once.outcomes} - {"POSTED"}
    assert refusals <= set(Reason)

"""What the database would hold, fed by plans alone, with the checks of its triggers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from paycore.domain.accounts import Account, AccountId, AccountKind, AccountStatus
from paycore.domain.past import NOTHING_READ, PastRead, PastWanted, Spent, wanted_past
from paycore.domain.plan import (
    BatchState,
    Key,
    OutcomeKind,
    ParentState,
    Plan,
    StoredGroup,
    StoredOutcome,
)
from paycore.domain.position import Position
from paycore.domain.rules import Rules
from paycore.domain.step_up_policy import DAY_US
from paycore.domain.transfers import (
    ChildCommand,
    Command,
    Decline,
    StepUpBasis,
    Transfer,
    TransferId,
    TransferKind,
    TransferState,
    accounts_of,
)
from tests.support.applied_plans import apply_transfers

ENDED = frozenset({"CAPTURED", "RELEASED", "EXPIRED", "REVERSED", "ROLLED_BACK"})
"""States of a transfer that nothing may follow."""


@dataclass
class PlannedTables:
    """Accounts, transfers and keys; `apply` is the posting transaction."""

    accounts: dict[AccountId, Account]
    stored: dict[Key, StoredOutcome] = field(default_factory=dict)
    transfers: dict[TransferId, Transfer] = field(default_factory=dict)
    declines: dict[int, Decline] = field(default_factory=dict)
    batches: int = 0
    clock_us: int = 0

    def state(self, commands: Sequence[Command], rules: Rules | None = None) -> BatchState:
        """What would be read for `commands` at `clock_us`, and nothing else.

        Of the past, what `rules` want.
        """
        accounts = {one for command in commands for one in accounts_of(command)}
        keys = {(command.client, command.key) for command in commands}
        parents = {one.parent for one in commands if isinstance(one, ChildCommand)}
        return BatchState(
            {one: self.accounts[one] for one in accounts if one in self.accounts},
            {key: self.stored[key] for key in keys if key in self.stored},
            {one: self._parent(one) for one in parents if one in self.transfers},
            self.clock_us,
            NOTHING_READ
            if rules is None
            else self._past(wanted_past(commands, rules, self.accounts)),
        )

    def _past(self, wanted: PastWanted) -> PastRead:
        """Of each payer the day of its newest entry, as far as it goes back."""
        spent = {}
        for payer in wanted.payers:
            day = self.accounts[payer].last_entry_us // DAY_US
            of_day = [
                one.amount
                for one in self.transfers.values()
                if one.debit_account == payer
                and one.step_up is StepUpBasis.BELOW_THRESHOLD
                and one.created_at_us // DAY_US == day
            ]
            spent[payer] = Spent(day, sum(of_day))
        movements = {
            (one.debit_account, one.credit_account)
            for one in self.transfers.values()
            if one.kind in (TransferKind.TRANSFER, TransferKind.WITHDRAWAL, TransferKind.CAPTURE)
        }
        return PastRead(spent, wanted.pairs & movements)

    def apply(self, plan: Plan) -> Position:
        """Write `plan`; asserts what the tables enforce."""
        self.batches += 1
        place = Position(1, 100 + self.batches, self.batches)
        for transfer in plan.transfers:
            self._insert(transfer)
        for decline in plan.declines:
            assert decline.id not in self.declines
            self.declines[decline.id] = decline
        grouped = {group.id: group.transfers for group in plan.groups}
        outcomes: set[int] = set()
        for key in plan.keys:
            assert (key.client, key.key) not in self.stored
            assert key.outcome_id not in outcomes
            outcomes.add(key.outcome_id)
            row: Transfer | Decline | StoredGroup
            match key.outcome:
                case OutcomeKind.TRANSFER:
                    row = self.transfers[TransferId(key.outcome_id)]
                case OutcomeKind.DECLINE:
                    row = self.declines[key.outcome_id]
                case OutcomeKind.GROUP:
                    members = grouped[key.outcome_id]
                    row = StoredGroup(
                        key.outcome_id, tuple((self.transfers[one], None) for one in members)
                    )
            self.stored[(key.client, key.key)] = StoredOutcome(key.request_hash, row, None, place)
        told = {*outcomes} | {one for members in grouped.values() for one in members}
        written = {*grouped}
        written |= {row.id for row in plan.transfers} | {row.id for row in plan.declines}
        assert told == written, "a row without a key, or a key without a row"
        return place

    def change(self, account_id: AccountId, **changes: object) -> None:
        """Set what of an account is set by hand."""
        account = self.accounts[account_id]._replace(**changes)  # type: ignore[arg-type]
        self.accounts[account_id] = account

    def _insert(self, transfer: Transfer) -> None:
        assert transfer.id not in self.transfers
        assert transfer.amount > 0
        assert transfer.debit_account != transfer.credit_account
        moves = transfer.kind not in (TransferKind.HOLD, TransferKind.RELEASE)
        assert moves == (transfer.credit_version is not None)
        if transfer.expires_at_us is not None:
            assert transfer.expires_at_us > transfer.created_at_us
        if transfer.parent_id is not None:
            self._check_child(transfer, self._parent(transfer.parent_id))
        for side in (transfer.debit_account, transfer.credit_account):
            account = self.accounts[side]
            assert account.currency == transfer.currency
            entered = moves or side == transfer.debit_account
            assert account.status is not AccountStatus.CLOSED or not entered
        apply_transfers(self.accounts, [transfer])
        payer = self.accounts[transfer.debit_account]
        assert payer.held >= 0
        if payer.kind is AccountKind.CUSTOMER:
            assert payer.balance - payer.held >= -payer.overdraft_limit, "below the floor"
        self.transfers[transfer.id] = transfer

    def _check_child(self, child: Transfer, parent: ParentState) -> None:
        assert child.parent_sequence == parent.children + 1
        assert child.parent_remaining is not None
        assert child.parent_remaining >= 0
        gone = child.amount + (child.released or 0)
        assert child.parent_remaining == parent.remaining - gone
        assert parent.state not in ENDED
        assert child.id > parent.transfer.id
        expires_at_us = parent.transfer.expires_at_us
        if child.kind is TransferKind.CAPTURE and expires_at_us is not None:
            assert child.created_at_us < expires_at_us
        if child.parent_state is TransferState.EXPIRED:
            assert expires_at_us is not None
            assert expires_at_us <= min(child.created_at_us, self.clock_us)

    def _parent(self, parent_id: TransferId) -> ParentState:
        parent = self.transfers[parent_id]
        children = [one for one in self.transfers.values() if one.parent_id == parent_id]
        if not children:
            return ParentState(parent, 0, parent.amount, parent.state)
        last = children[-1]
        assert last.parent_sequence is not None
        assert last.parent_remaining is not None
        assert last.parent_state is not None
        return ParentState(parent, last.parent_sequence, last.parent_remaining, last.parent_state)


def assert_whole(accounts: Iterable[Account], transfers: Iterable[Transfer]) -> None:
    """The promises of the ledger, read from the rows alone."""
    rows = list(transfers)
    accounts = list(accounts)
    for currency in {account.currency for account in accounts}:
        assert sum(one.balance for one in accounts if one.currency == currency) == 0
    entries: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    held: dict[int, int] = defaultdict(int)
    gone: dict[int, int] = defaultdict(int)
    for row in rows:
        if row.parent_id is not None:
            gone[row.parent_id] += row.amount + (row.released or 0)
        debit = (row.debit_version, row.created_at_us, row.debit_balance_after)
        entries[row.debit_account].append(debit)
        if row.credit_version is not None and row.credit_balance_after is not None:
            credit = (row.credit_version, row.created_at_us, row.credit_balance_after)
            entries[row.credit_account].append(credit)
    for row in rows:
        assert gone[row.id] <= row.amount, "more followed a transfer than it had"
        if row.kind is TransferKind.HOLD:
            held[row.debit_account] += row.amount - gone[row.id]
    for account in accounts:
        chain = sorted(entries[account.id])
        assert [version for version, _, _ in chain] == list(range(1, account.version + 1))
        assert all(early[1] < late[1] for early, late in pairwise(chain))
        assert account.held == held[account.id]
        if chain:
            assert chain[-1][1:] == (account.last_entry_us, account.balance)
        if account.kind is AccountKind.CUSTOMER:
            assert account.balance - account.held >= -account.overdraft_limit

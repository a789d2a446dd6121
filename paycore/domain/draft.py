"""A batch while it is being decided: accounts as the commands so far left them, and the rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from paycore.domain.accounts import Account, AccountId
from paycore.domain.errors import PaycoreError, Reason, account_not_found, transfer_not_found
from paycore.domain.grants import GrantAction, Reach
from paycore.domain.money import MAX_MINOR, MIN_MINOR, Minor
from paycore.domain.past import Past
from paycore.domain.plan import BatchState, Key, KeyRow, OutcomeKind, ParentState, Plan
from paycore.domain.rules import Rules
from paycore.domain.transfers import (
    ChildCommand,
    Decline,
    Declined,
    GroupPosted,
    Posted,
    TransferCommand,
    TransferId,
)

Decided = Posted | GroupPosted | Declined
"""Outcomes that are remembered under their key."""


class Working:
    """An account's changing figures while a batch is planned."""

    __slots__ = ("account", "balance", "held", "last_entry_us", "version")

    def __init__(self, account: Account) -> None:
        self.account = account
        self.balance: int = account.balance
        self.held: int = account.held
        self.version = account.version
        self.last_entry_us = account.last_entry_us

    @property
    def available(self) -> int:
        """What may be debited, in minor units; not bounded to int64."""
        return self.balance - self.held + self.account.overdraft_limit

    def enter(self, change: int, created_at_us: int) -> None:
        """Make one entry of `change` minor units."""
        self.balance += change
        self.version += 1
        self.last_entry_us = created_at_us

    def figures(self) -> tuple[int, int, int, int]:
        """What `restore` takes."""
        return self.balance, self.held, self.version, self.last_entry_us

    def restore(self, figures: tuple[int, int, int, int]) -> None:
        """Go back to how it was."""
        self.balance, self.held, self.version, self.last_entry_us = figures


class Standing(NamedTuple):
    """What one client may do with one kind of transfer, looked up once a batch."""

    debits: Reach
    reads: Reach


class Draft:
    """What deciding needs and changes: accounts, parents, and the plan so far."""

    def __init__(self, state: BatchState, rules: Rules, now_us: int, ids: Sequence[int]) -> None:
        self.rules = rules
        self.now_us = now_us
        # What is past by then is past by the process's clock and by the database's.
        self.surely_us = min(now_us, state.clock_us)
        self.stored = state.stored
        self.plan = Plan()
        self.decided: dict[Key, tuple[bytes, Decided]] = {}
        self._read = state.past
        self._past: Past | None = None
        self._ids: Iterator[int] = iter(ids)
        self._accounts = {
            account_id: Working(account) for account_id, account in state.accounts.items()
        }
        self._parents = dict(state.parents)
        self._standings: dict[Key, Standing] = {}

    @property
    def past(self) -> Past:
        """What payers did before. Made when it is asked for: few batches hang on it."""
        if self._past is None:
            self._past = Past(self._read, self.plan.transfers)
        return self._past

    def undo_transfers(self, count: int) -> None:
        """Leave only the first `count` of those planned."""
        del self.plan.transfers[count:]
        if self._past is not None:
            self._past.forget_after(count)

    def next_id(self) -> TransferId:
        """A fresh id, higher than those before it."""
        return TransferId(next(self._ids))

    def knows(self, account_id: AccountId) -> bool:
        """Whether there is such an account."""
        return account_id in self._accounts

    def account(self, account_id: AccountId) -> Working:
        """The account as it stands. Raises PaycoreError ACCOUNT_NOT_FOUND."""
        account = self._accounts.get(account_id)
        if account is None:
            raise account_not_found(account_id)
        return account

    def parent(self, transfer_id: TransferId) -> ParentState:
        """The transfer as it stands. Raises PaycoreError TRANSFER_NOT_FOUND."""
        parent = self._parents.get(transfer_id)
        if parent is None:
            raise transfer_not_found(transfer_id)
        return parent

    def follow(self, parent: ParentState) -> None:
        """From now on the transfer stands as `parent` says."""
        self._parents[parent.transfer.id] = parent

    def standing(self, client: str, action: str) -> Standing:
        """What `client` reaches with `action`, and what it may read."""
        key = (client, action)
        standing = self._standings.get(key)
        if standing is None:
            grants = self.rules.grants
            standing = Standing(
                grants.reach(client, action), grants.reach(client, GrantAction.READ)
            )
            self._standings[key] = standing
        return standing

    def may_read(self, client: str, account: Account) -> bool:
        """Whether `client` may see the account's figures."""
        reads = self.standing(client, GrantAction.READ).reads
        return reads.covers(client, account.opened_by, account.institution)

    def entry_time_us(self, debit: Working, credit: Working) -> int:
        """When an entry on both is made: for each account, order of time is order of version."""
        return max(self.now_us, debit.last_entry_us + 1, credit.last_entry_us + 1)

    def decline(
        self,
        command: TransferCommand | ChildCommand,
        amount: int,
        reason: Reason,
        figures: Mapping[str, str],
        *,
        client: str,
        group_id: int | None = None,
    ) -> Declined:
        """A refusal that is stored, for `client`, who reads of it what it may."""
        decline = Decline(
            self.next_id(),
            command.debit_account,
            command.credit_account,
            Minor(amount),
            self.now_us,
            command.effective_at_us if isinstance(command, TransferCommand) else None,
            command.kind,
            command.currency,
            client,
            reason.value,
            figures,
            command.reference,
            command.details_hash,
            command.parent if isinstance(command, ChildCommand) else None,
            group_id,
        )
        plan = self.plan
        plan.declines.append(decline)
        if command.details is not None:
            plan.details.append((decline.id, command.details))
        readable = self.may_read(client, self.account(command.debit_account).account)
        return Declined(decline, command.details, readable)

    def remember(
        self, client: str, key: str, request_hash: bytes, outcome_id: int, outcome: Decided
    ) -> None:
        """Keep `outcome` under its key, for copies in this batch and for ever."""
        self.decided[(client, key)] = (request_hash, outcome)
        if isinstance(outcome, Posted):
            kind = OutcomeKind.TRANSFER
        elif isinstance(outcome, Declined):
            kind = OutcomeKind.DECLINE
        else:
            kind = OutcomeKind.GROUP
        self.plan.keys.append(KeyRow(client, key, outcome_id, kind, request_hash))


def check_range(debit: Working, credit: Working, amount: int, currency: str) -> None:
    """Raise PaycoreError BALANCE_OVERFLOW where a balance would leave int64."""
    if credit.balance + amount > MAX_MINOR or debit.balance - amount < MIN_MINOR:
        raise PaycoreError(
            Reason.BALANCE_OVERFLOW,
            "a balance would leave the range of int64",
            {"requested": str(amount), "currency": currency},
        )


def check_held_range(debit: Working, amount: int, currency: str) -> None:
    """Raise PaycoreError BALANCE_OVERFLOW where what is held would leave int64."""
    if debit.held + amount > MAX_MINOR:
        raise PaycoreError(
            Reason.BALANCE_OVERFLOW,
            "what is held would leave the range of int64",
            {"requested": str(amount), "currency": currency},
        )

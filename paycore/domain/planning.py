"""Deciding a batch of commands: a pure function from state to outcomes and rows.

Commands are decided in order of arrival, each against the state as the one before left it. The
checks of one command run in the order of `_decide`, so every outcome is deterministic: first the
stored key, then whatever is decided afresh on retry, last the refusals that the ledger remembers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from paycore.domain.accounts import Account, AccountId, AccountKind, AccountStatus
from paycore.domain.errors import PaycoreError, Reason, account_not_found, key_reused
from paycore.domain.grants import GrantAction, Reach
from paycore.domain.money import MAX_MINOR, MIN_MINOR, Currency, Minor
from paycore.domain.plan import AccountUpdate, AuthorizationRow, BatchState, Key, KeyRow, Plan
from paycore.domain.rules import ENDPOINTS, Rules, visible_to
from paycore.domain.transfers import (
    Decline,
    Declined,
    Outcome,
    Posted,
    Refused,
    StepUpBasis,
    Transfer,
    TransferCommand,
    TransferId,
)


class _Working:
    """An account's changing figures while a batch is planned."""

    __slots__ = ("account", "balance", "changed", "last_entry_us", "version")

    def __init__(self, account: Account) -> None:
        self.account = account
        self.balance: int = account.balance
        self.version = account.version
        self.last_entry_us = account.last_entry_us
        self.changed = False

    def enter(self, change: int, created_at_us: int) -> None:
        """Make one entry of `change` minor units."""
        self.balance += change
        self.version += 1
        self.last_entry_us = created_at_us
        self.changed = True


def plan_batch(
    state: BatchState,
    commands: Sequence[TransferCommand],
    rules: Rules,
    now_us: int,
    ids: Sequence[int],
) -> Plan:
    """Decide `commands` in order.

    `ids` holds at least one fresh, rising id per command. Never raises for a bad command: its
    outcome is Refused, and its neighbours are not concerned.
    """
    return _Planner(state, rules, now_us).plan(commands, ids)


class _Standing(NamedTuple):
    """What one client may do with one kind of transfer, looked up once a batch."""

    debits: Reach
    reads: Reach


class _Planner:
    def __init__(self, state: BatchState, rules: Rules, now_us: int) -> None:
        self._stored = state.stored
        self._rules = rules
        self._now_us = now_us
        self._accounts = {
            account_id: _Working(account) for account_id, account in state.accounts.items()
        }
        self._decided: dict[Key, tuple[bytes, Posted | Declined]] = {}
        self._standings: dict[Key, _Standing] = {}
        self._plan = Plan()

    def plan(self, commands: Sequence[TransferCommand], ids: Sequence[int]) -> Plan:
        plan = self._plan
        for command, new_id in zip(commands, ids, strict=False):
            try:
                outcome = self._decide(command, TransferId(new_id))
            except PaycoreError as error:
                outcome = Refused(error)
            plan.outcomes.append(outcome)
        for account_id, working in self._accounts.items():
            if working.changed:
                account = working.account
                plan.accounts.append(
                    AccountUpdate(
                        account_id,
                        account.version,
                        account.revision,
                        Minor(working.balance),
                        working.version,
                        working.last_entry_us,
                    )
                )
        return plan

    def _decide(self, command: TransferCommand, new_id: TransferId) -> Outcome:
        earlier = self._earlier(command)
        if earlier is not None:
            return earlier
        if command.debit_account == command.credit_account:
            raise PaycoreError(
                Reason.SAME_ACCOUNT,
                "debit and credit account are the same",
                {"account": str(command.debit_account)},
            )
        debit = self._account(command.debit_account)
        credit = self._account(command.credit_account)
        standing = self._standing(command)
        payer = debit.account
        if not standing.debits.covers(command.client, payer.opened_by, payer.institution):
            raise _not_permitted(command)
        _check_endpoints(command, payer, credit.account)
        if command.expected_debit_version is not None:
            self._check_version(command, "debit", command.expected_debit_version, debit)
        if command.expected_credit_version is not None:
            self._check_version(command, "credit", command.expected_credit_version, credit)
        basis = self._check_step_up(command, payer)
        amount = command.amount
        if credit.balance + amount > MAX_MINOR or debit.balance - amount < MIN_MINOR:
            raise PaycoreError(
                Reason.BALANCE_OVERFLOW,
                "a balance would leave the range of int64",
                {"requested": str(amount), "currency": command.currency},
            )
        refusal = _remembered_refusal(command, debit, credit)
        if refusal is not None:
            return self._decline(command, new_id, payer, *refusal)
        return self._post(command, new_id, debit, credit, basis, standing)

    def _earlier(self, command: TransferCommand) -> Outcome | None:
        """The outcome that the command's key already has, if it has one."""
        key = (command.client, command.key)
        decided = self._decided.get(key)
        if decided is not None:
            request_hash, outcome = decided
            _check_same_request(command, request_hash)
            if isinstance(outcome, Posted):
                return Posted(outcome.transfer, outcome.details, outcome.visible, replayed=True)
            return Declined(outcome.decline, outcome.details, outcome.payer_readable, replayed=True)
        stored = self._stored.get(key)
        if stored is None:
            return None
        _check_same_request(command, stored.request_hash)
        if isinstance(stored.row, Transfer):
            visible = visible_to(
                self._standing(command).reads,
                command.client,
                self._account(stored.row.debit_account).account,
                self._account(stored.row.credit_account).account,
            )
            return Posted(stored.row, stored.details, visible, True, stored.position)
        if isinstance(stored.row, Decline):
            payer = self._account(stored.row.debit_account).account
            readable = self._may_read(command, payer)
            return Declined(stored.row, stored.details, readable, True, stored.position)
        raise key_reused(command.key)

    def _account(self, account_id: AccountId) -> _Working:
        account = self._accounts.get(account_id)
        if account is None:
            raise account_not_found(account_id)
        return account

    def _standing(self, command: TransferCommand) -> _Standing:
        key = (command.client, command.kind.value)
        standing = self._standings.get(key)
        if standing is None:
            grants = self._rules.grants
            standing = _Standing(grants.reach(*key), grants.reach(command.client, GrantAction.READ))
            self._standings[key] = standing
        return standing

    def _may_read(self, command: TransferCommand, account: Account) -> bool:
        reads = self._standing(command).reads
        return reads.covers(command.client, account.opened_by, account.institution)

    def _check_version(
        self, command: TransferCommand, side: str, expected: int, working: _Working
    ) -> None:
        if expected != working.version:
            figures = {"account": str(working.account.id), "expected": str(expected)}
            if self._may_read(command, working.account):
                figures["actual"] = str(working.version)
            raise PaycoreError(
                Reason.VERSION_MISMATCH,
                f"the {side} account no longer stands at version {expected}",
                figures,
            )

    def _check_step_up(self, command: TransferCommand, payer: Account) -> StepUpBasis:
        authorization = command.authorization
        if authorization is not None:
            if authorization.user_id != payer.owner:
                raise PaycoreError(
                    Reason.AUTHORIZATION_INVALID,
                    "the authorization is not by the owner of the debited account",
                    {"account": str(payer.id), "why": "other user"},
                )
            if authorization.expires_at_us <= self._now_us:
                raise PaycoreError(
                    Reason.AUTHORIZATION_EXPIRED,
                    "the authorization has expired",
                    {"account": str(payer.id), "why": "expired"},
                )
            return StepUpBasis.AUTHORIZED
        basis = self._rules.step_up_basis(
            command.client, command.kind, command.amount, command.currency, payer
        )
        if basis is None:
            raise step_up_required(command)
        return basis

    def _post(
        self,
        command: TransferCommand,
        new_id: TransferId,
        debit: _Working,
        credit: _Working,
        basis: StepUpBasis,
        standing: _Standing,
    ) -> Posted:
        created_at_us = max(self._now_us, debit.last_entry_us + 1, credit.last_entry_us + 1)
        amount = command.amount
        debit.enter(-amount, created_at_us)
        credit.enter(amount, created_at_us)
        authorization = command.authorization
        transfer = Transfer(
            new_id,
            command.debit_account,
            command.credit_account,
            amount,
            debit.version,
            credit.version,
            Minor(debit.balance),
            Minor(credit.balance),
            debit.account.held,
            created_at_us,
            command.effective_at_us,
            None if authorization is None else authorization.id,
            command.kind,
            basis,
            command.currency,
            command.client,
            command.reference,
            command.details_hash,
        )
        plan = self._plan
        plan.transfers.append(transfer)
        if authorization is not None:
            plan.authorizations.append(
                AuthorizationRow(new_id, command.client, command.key, authorization)
            )
        visible = visible_to(standing.reads, command.client, debit.account, credit.account)
        posted = Posted(transfer, command.details, visible)
        self._remember(command, new_id, posted, declined=False)
        return posted

    def _decline(
        self,
        command: TransferCommand,
        new_id: TransferId,
        payer: Account,
        reason: Reason,
        figures: Mapping[str, str],
    ) -> Declined:
        decline = Decline(
            new_id,
            command.debit_account,
            command.credit_account,
            command.amount,
            self._now_us,
            command.effective_at_us,
            command.kind,
            command.currency,
            command.client,
            reason.value,
            figures,
            command.reference,
            command.details_hash,
        )
        self._plan.declines.append(decline)
        declined = Declined(decline, command.details, self._may_read(command, payer))
        self._remember(command, new_id, declined, declined=True)
        return declined

    def _remember(
        self,
        command: TransferCommand,
        new_id: TransferId,
        outcome: Posted | Declined,
        *,
        declined: bool,
    ) -> None:
        self._decided[(command.client, command.key)] = (command.request_hash, outcome)
        self._plan.keys.append(
            KeyRow(command.client, command.key, new_id, declined, command.request_hash)
        )
        if command.details is not None:
            self._plan.details.append((new_id, command.details))


def _not_permitted(command: TransferCommand) -> PaycoreError:
    return PaycoreError(
        Reason.NOT_PERMITTED,
        f"{command.client} may not debit account {command.debit_account} with {command.kind}",
        {"account": str(command.debit_account), "grant": command.kind},
    )


def step_up_required(command: TransferCommand) -> PaycoreError:
    """The refusal that tells what must be authorized."""
    return PaycoreError(
        Reason.STEP_UP_REQUIRED,
        "the owner of the debited account must approve this payment",
        {
            "kind": command.kind,
            "account": str(command.debit_account),
            "payee": str(command.credit_account),
            "amount": str(command.amount),
            "currency": command.currency,
        },
    )


def _check_same_request(command: TransferCommand, request_hash: bytes) -> None:
    if command.request_hash != request_hash:
        raise key_reused(command.key)


def _check_endpoints(command: TransferCommand, debit: Account, credit: Account) -> None:
    """The accounts' kinds fit the transfer's, and both hold its currency."""
    wanted = ENDPOINTS[command.kind]
    currency: Currency = command.currency
    if (
        debit.kind is wanted[0]
        and credit.kind is wanted[1]
        and debit.currency == currency == credit.currency
    ):
        return
    for account, kind in ((debit, wanted[0]), (credit, wanted[1])):
        if account.kind is not kind:
            raise PaycoreError(
                Reason.ACCOUNT_KIND_MISMATCH,
                f"{command.kind} needs account {account.id} to be {kind}",
                {"account": str(account.id), "expected": kind, "actual": account.kind},
            )
    for account in (debit, credit):
        if account.currency != currency:
            raise PaycoreError(
                Reason.CURRENCY_MISMATCH,
                f"account {account.id} holds {account.currency}",
                {
                    "account": str(account.id),
                    "expected": account.currency,
                    "actual": currency,
                },
            )


def _remembered_refusal(
    command: TransferCommand, debit: _Working, credit: _Working
) -> tuple[Reason, Mapping[str, str]] | None:
    """The refusal by a rule of the ledger that is stored under the key, if one applies."""
    payer, payee = debit.account, credit.account
    active = AccountStatus.ACTIVE
    if payer.status is not active or payee.status is not active:
        refusal = _refused_by_status(payer, payee)
        if refusal is not None:
            return refusal
    if payer.kind is AccountKind.CUSTOMER:
        available = debit.balance - payer.held + payer.overdraft_limit
        if command.amount > available:
            return Reason.INSUFFICIENT_FUNDS, {
                "account": str(payer.id),
                "currency": command.currency,
                "available": str(available),
                "requested": str(command.amount),
            }
    return None


def _refused_by_status(payer: Account, payee: Account) -> tuple[Reason, Mapping[str, str]] | None:
    for account in (payer, payee):
        if account.status is AccountStatus.CLOSED:
            return Reason.ACCOUNT_CLOSED, {"account": str(account.id), "state": account.status}
    if payer.status is AccountStatus.FROZEN:
        return Reason.ACCOUNT_FROZEN, {"account": str(payer.id), "state": payer.status}
    return None

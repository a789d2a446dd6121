"""Deciding one transfer or hold that follows no other."""

from __future__ import annotations

from paycore.domain.accounts import Account, AccountKind, AccountStatus
from paycore.domain.approvals import GroupApprovals, basis_of
from paycore.domain.draft import Draft, Standing, Working, check_held_range, check_range
from paycore.domain.errors import PaycoreError, Reason, invalid_field
from paycore.domain.money import Minor
from paycore.domain.plan import AuthorizationRow
from paycore.domain.refusals import Refusal, by_funds, by_risk, by_status
from paycore.domain.rules import ENDPOINTS, visible_to
from paycore.domain.transfers import (
    Declined,
    Posted,
    RiskDecision,
    StepUpBasis,
    Transfer,
    TransferCommand,
    TransferKind,
)

LONGEST_HOLD_US = 366 * 86_400 * 1_000_000
"""How far ahead the deadline of a hold may lie, in microseconds."""


def decide_transfer(draft: Draft, command: TransferCommand) -> Posted | Declined:
    """Post or decline `command`. Raises PaycoreError for what a retry decides afresh."""
    debit, credit, basis, standing = admit(draft, command, command.client)
    refusal = refusal_of(command, debit, credit)
    outcome: Posted | Declined
    if refusal is not None:
        outcome = draft.decline(command, command.amount, *refusal, client=command.client)
        new_id = outcome.decline.id
    else:
        outcome = post(draft, command, debit, credit, basis, standing)
        new_id = outcome.transfer.id
        if command.authorization is not None:
            draft.plan.authorizations.append(
                AuthorizationRow(new_id, command.client, command.key, command.authorization)
            )
    draft.remember(command.client, command.key, command.request_hash, new_id, outcome)
    return outcome


def admit(
    draft: Draft, command: TransferCommand, client: str, approvals: GroupApprovals | None = None
) -> tuple[Working, Working, StepUpBasis, Standing]:
    """Check all of `command` that is decided afresh on retry; `approvals` are those of its group.

    Raises PaycoreError; gives the accounts as they stand and why it may be posted.
    """
    if command.debit_account == command.credit_account:
        raise PaycoreError(
            Reason.SAME_ACCOUNT,
            "debit and credit account are the same",
            {"account": str(command.debit_account)},
        )
    debit = draft.account(command.debit_account)
    credit = draft.account(command.credit_account)
    payer, payee = debit.account, credit.account
    kind = command.kind
    standing = draft.standing(client, kind)
    if not standing.debits.covers(client, payer.opened_by, payer.institution):
        raise not_permitted(client, command.debit_account, kind)
    if kind is TransferKind.HOLD and payee.kind is AccountKind.EXTERNAL:
        leaves = draft.standing(client, TransferKind.WITHDRAWAL).debits
        if not leaves.covers(client, payer.opened_by, payer.institution):
            raise not_permitted(client, command.debit_account, TransferKind.WITHDRAWAL)
    _check_endpoints(command, payer, payee)
    if command.expected_debit_version is not None:
        _check_version(draft, client, "debit", command.expected_debit_version, debit)
    if command.expected_credit_version is not None:
        _check_version(draft, client, "credit", command.expected_credit_version, credit)
    if command.expires_at_us is not None:
        _check_ahead(command.expires_at_us, draft.now_us, draft.entry_time_us(debit, credit))
    if approvals is None:
        basis = basis_of(draft, command, client, debit, credit)
    else:
        basis = approvals.basis_of(command, debit, credit)
    if kind is TransferKind.HOLD or _review_rule(command) is not None:
        # It moves nothing: whether the payee has room is a question of its capture.
        check_held_range(debit, command.amount, command.currency)
    else:
        check_range(debit, credit, command.amount, command.currency)
    return debit, credit, basis, standing


def refusal_of(command: TransferCommand, debit: Working, credit: Working) -> Refusal | None:
    """The refusal that is stored under the key, if one applies: by status, risk, funds."""
    payer, payee = debit.account, credit.account
    active = AccountStatus.ACTIVE
    if payer.status is not active or payee.status is not active:
        refusal = by_status(payer, payee)
        if refusal is not None:
            return refusal
    if command.risk is not None:
        refusal = by_risk(command.risk)
        if refusal is not None:
            return refusal
    if command.amount <= debit.available:
        return None
    return by_funds(debit, command.amount, command.currency)


def post(
    draft: Draft,
    command: TransferCommand,
    debit: Working,
    credit: Working,
    basis: StepUpBasis,
    standing: Standing,
    client: str | None = None,
    group_id: int | None = None,
) -> Posted:
    """Write the transfer; a HOLD, and what waits for a review, only sets its amount aside."""
    created_at_us = draft.entry_time_us(debit, credit)
    amount = command.amount
    review = _review_rule(command)
    kind = command.kind
    if review is not None or kind is TransferKind.HOLD:
        kind = TransferKind.HOLD
        debit.enter(0, created_at_us)
        debit.held += amount
        credit_version, credit_balance = None, None
    else:
        debit.enter(-amount, created_at_us)
        credit.enter(amount, created_at_us)
        credit_version, credit_balance = credit.version, Minor(credit.balance)
    client = client or command.client
    transfer = Transfer(
        draft.next_id(),
        command.debit_account,
        command.credit_account,
        amount,
        debit.version,
        credit_version,
        Minor(debit.balance),
        credit_balance,
        Minor(debit.held),
        created_at_us,
        command.effective_at_us,
        None if command.authorization is None else command.authorization.id,
        kind,
        basis,
        command.currency,
        client,
        command.reference,
        command.details_hash,
        None,
        None,
        None,
        None,
        None,
        command.expires_at_us,
        group_id,
        review,
    )
    plan = draft.plan
    plan.transfers.append(transfer)
    if command.details is not None:
        plan.details.append((transfer.id, command.details))
    visible = visible_to(standing.reads, client, debit.account, credit.account)
    return Posted(transfer, command.details, visible)


def not_permitted(client: str, account: int, grant: str) -> PaycoreError:
    """The refusal of a debit that no grant allows."""
    return PaycoreError(
        Reason.NOT_PERMITTED,
        f"{client} may not debit account {account} with {grant}",
        {"account": str(account), "grant": str(grant)},
    )


def _review_rule(command: TransferCommand) -> str | None:
    """The rule for which someone has to approve the payment first."""
    risk = command.risk
    return risk.rule if risk is not None and risk.decision is RiskDecision.REVIEW else None


def _check_ahead(expires_at_us: int, now_us: int, created_at_us: int) -> None:
    # The entry may be later than now: a hold must not have expired when it is made.
    if not created_at_us < expires_at_us <= now_us + LONGEST_HOLD_US:
        raise invalid_field("expire_time", "in the future, at most 366 days ahead")


def _check_version(draft: Draft, client: str, side: str, expected: int, working: Working) -> None:
    if expected != working.version:
        figures = {"account": str(working.account.id), "expected": str(expected)}
        if draft.may_read(client, working.account):
            figures["actual"] = str(working.version)
        raise PaycoreError(
            Reason.VERSION_MISMATCH,
            f"the {side} account no longer stands at version {expected}",
            figures,
        )


def _check_endpoints(command: TransferCommand, debit: Account, credit: Account) -> None:
    """The accounts' kinds fit the transfer's, and both hold its currency."""
    payer_kind, payee_kind = ENDPOINTS[command.kind]
    currency = command.currency
    if (
        debit.kind is payer_kind
        and (credit.kind is payee_kind or payee_kind is None)
        and debit.currency == currency == credit.currency
    ):
        return
    for account, kind in ((debit, payer_kind), (credit, payee_kind)):
        if kind is not None and account.kind is not kind:
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

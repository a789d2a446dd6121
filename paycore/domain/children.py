"""Deciding a transfer that follows another: capture, release, refund, reversal.

What the parent has left, and whether anything may still follow it, is decided under the lock of the
accounts, which are the same for all that follow it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from paycore.domain.accounts import AccountKind, AccountStatus
from paycore.domain.draft import Draft, Working, check_range
from paycore.domain.errors import PaycoreError, Reason, transfer_not_found
from paycore.domain.grants import GrantAction
from paycore.domain.money import Minor
from paycore.domain.plan import ParentState
from paycore.domain.refusals import Refusal, by_funds, by_status
from paycore.domain.rules import LEGAL_CHILDREN, OPEN_HOLD_STATES, visible_to
from paycore.domain.singles import not_permitted
from paycore.domain.transfers import (
    ChildCommand,
    Declined,
    Posted,
    StepUpBasis,
    Transfer,
    TransferKind,
    TransferState,
)

_PARTIAL = frozenset({TransferKind.CAPTURE, TransferKind.REFUND})
"""Kinds that may take less than is left. The others are whole."""


class _Step(NamedTuple):
    """What one child does to its parent; amounts in minor units."""

    amount: int
    remaining: int
    state: TransferState
    released: int = 0


def decide_child(draft: Draft, command: ChildCommand) -> Posted | Declined:
    """Post or decline `command`. Raises PaycoreError for what a retry decides afresh."""
    parent = seen_parent(draft, command)
    debit = draft.account(command.debit_account)
    credit = draft.account(command.credit_account)
    _check_grants(draft, command, debit, credit)
    _check_parent(command, parent)
    if _is_own(command):
        _check_expired(parent, draft.surely_us)
    amount = parent.remaining
    if command.amount is not None and command.kind in _PARTIAL:
        amount = command.amount
    if command.kind is not TransferKind.RELEASE:
        check_range(debit, credit, amount, command.currency)
    created_at_us = draft.entry_time_us(debit, credit)
    outcome: Posted | Declined
    refusal = _refusal(command, parent, amount, debit, credit, created_at_us)
    if refusal is not None:
        shown = amount or parent.transfer.amount
        outcome = draft.decline(command, shown, *refusal, client=command.client)
        new_id = outcome.decline.id
    else:
        step = _step(command, parent, amount, draft.surely_us)
        outcome = _post(draft, command, parent, step, debit, credit, created_at_us)
        new_id = outcome.transfer.id
    draft.remember(command.client, command.key, command.request_hash, new_id, outcome)
    return outcome


def seen_parent(draft: Draft, command: ChildCommand) -> ParentState:
    """The transfer that `command` follows, as it stands.

    Raises PaycoreError TRANSFER_NOT_FOUND, as for one that does not exist, where the client neither
    made it nor may read one of its accounts.
    """
    parent = draft.parent(command.parent)
    if parent.transfer.client == command.client or _is_own(command):
        return parent
    debit, credit = draft.account(command.debit_account), draft.account(command.credit_account)
    reads = draft.standing(command.client, GrantAction.READ).reads
    if any(visible_to(reads, command.client, debit.account, credit.account)):
        return parent
    raise transfer_not_found(command.parent)


def _is_own(command: ChildCommand) -> bool:
    """Whether it is the ledger's own: nobody can ask for it, and it frees only what is overdue."""
    return command.released_as is TransferState.EXPIRED


def _check_grants(draft: Draft, command: ChildCommand, debit: Working, credit: Working) -> None:
    if _is_own(command):
        return
    grants = [GrantAction.REVIEW if command.review else GrantAction(command.kind)]
    account = debit.account
    if command.kind in (TransferKind.REFUND, TransferKind.REVERSAL):
        # What had left for the world outside comes in again, or leaves what had come in.
        if account.kind is AccountKind.EXTERNAL:
            grants.append(GrantAction.DEPOSIT)
        if credit.account.kind is AccountKind.EXTERNAL:
            grants.append(GrantAction.WITHDRAWAL)
    for needed in grants:
        reach = draft.standing(command.client, needed).debits
        if not reach.covers(command.client, account.opened_by, account.institution):
            raise not_permitted(command.client, account.id, needed)


def _check_parent(command: ChildCommand, parent: ParentState) -> None:
    transfer = parent.transfer
    kind = command.kind
    figures = {"id": str(transfer.id), "kind": transfer.kind, "state": parent.state}
    if transfer.kind not in LEGAL_CHILDREN[kind]:
        raise PaycoreError(Reason.ILLEGAL_STATE, f"{kind} cannot follow {transfer.kind}", figures)
    if (transfer.review is not None) is not command.review and not _is_own(command):
        waits = "waits for" if transfer.review is not None else "is not held for"
        raise PaycoreError(
            Reason.ILLEGAL_STATE, f"transfer {transfer.id} {waits} a review", figures
        )
    if command.asked_currency not in (None, transfer.currency):
        raise PaycoreError(
            Reason.CURRENCY_MISMATCH,
            f"transfer {transfer.id} is in {transfer.currency}",
            {
                "id": str(transfer.id),
                "expected": transfer.currency,
                "actual": str(command.asked_currency),
            },
        )
    untouched = parent.state is TransferState.POSTED
    if (kind is TransferKind.REVERSAL and not untouched) or (
        kind is TransferKind.REFUND and parent.state is TransferState.REVERSED
    ):
        raise PaycoreError(
            Reason.ILLEGAL_STATE,
            f"{kind} cannot follow a transfer that is {parent.state}",
            figures,
        )


def _check_expired(parent: ParentState, surely_us: int) -> None:
    if parent.state not in OPEN_HOLD_STATES or not _is_expired(parent, surely_us):
        raise PaycoreError(
            Reason.ILLEGAL_STATE,
            f"hold {parent.transfer.id} is not open any more, or its time is not up",
            {"id": str(parent.transfer.id), "state": parent.state},
        )


def _is_expired(parent: ParentState, at_us: int) -> bool:
    deadline_us = parent.transfer.expires_at_us
    return deadline_us is not None and at_us >= deadline_us


def _refusal(
    command: ChildCommand,
    parent: ParentState,
    amount: int,
    debit: Working,
    credit: Working,
    created_at_us: int,
) -> Refusal | None:
    """The refusal that is stored: the hold is not open, too much is asked, by status, by funds."""
    kind = command.kind
    if kind in (TransferKind.CAPTURE, TransferKind.RELEASE):
        if parent.state not in OPEN_HOLD_STATES:
            return Reason.HOLD_NOT_OPEN, _hold_figures(parent, parent.state)
        if kind is TransferKind.RELEASE:
            return None
        if _is_expired(parent, created_at_us):
            return Reason.HOLD_NOT_OPEN, _hold_figures(parent, TransferState.EXPIRED)
    if amount > parent.remaining or not amount:
        return Reason.EXCEEDS_REMAINING, {
            "id": str(parent.transfer.id),
            "currency": parent.transfer.currency,
            "remaining": str(parent.remaining),
            "requested": str(amount),
        }
    active = AccountStatus.ACTIVE
    if debit.account.status is not active or credit.account.status is not active:
        refusal = by_status(debit.account, credit.account)
        if refusal is not None:
            return refusal
    if kind is TransferKind.CAPTURE:
        # What is captured was set aside for it.
        return None
    return by_funds(debit, amount, command.currency)


def _hold_figures(parent: ParentState, state: TransferState) -> Mapping[str, str]:
    return {"id": str(parent.transfer.id), "state": state}


def _step(command: ChildCommand, parent: ParentState, amount: int, surely_us: int) -> _Step:
    left = parent.remaining - amount
    match command.kind:
        case TransferKind.CAPTURE if command.final or not left:
            return _Step(amount, 0, TransferState.CAPTURED, left)
        case TransferKind.CAPTURE:
            return _Step(amount, left, TransferState.PARTIALLY_CAPTURED)
        case TransferKind.RELEASE:
            expired = _is_expired(parent, surely_us)
            state = TransferState.EXPIRED if expired else command.released_as
            return _Step(amount, 0, state)
        case TransferKind.REFUND:
            return _Step(
                amount, left, TransferState.PARTIALLY_REFUNDED if left else TransferState.REFUNDED
            )
        case _:
            return _Step(amount, 0, TransferState.REVERSED)


def _post(
    draft: Draft,
    command: ChildCommand,
    parent: ParentState,
    step: _Step,
    debit: Working,
    credit: Working,
    created_at_us: int,
) -> Posted:
    kind = command.kind
    amount = step.amount
    if kind is TransferKind.RELEASE:
        debit.enter(0, created_at_us)
        debit.held -= amount
        credit_version, credit_balance = None, None
    else:
        debit.enter(-amount, created_at_us)
        credit.enter(amount, created_at_us)
        if kind is TransferKind.CAPTURE:
            debit.held -= amount + step.released
        credit_version, credit_balance = credit.version, Minor(credit.balance)
    sequence = parent.children + 1
    transfer = Transfer(
        draft.next_id(),
        command.debit_account,
        command.credit_account,
        Minor(amount),
        debit.version,
        credit_version,
        Minor(debit.balance),
        credit_balance,
        Minor(debit.held),
        created_at_us,
        None,
        None,
        kind,
        StepUpBasis.NOT_APPLICABLE,
        command.currency,
        command.client,
        command.reference,
        command.details_hash,
        parent.transfer.id,
        sequence,
        Minor(step.remaining),
        step.state,
        Minor(step.released) if step.released else None,
    )
    draft.plan.transfers.append(transfer)
    if command.details is not None:
        draft.plan.details.append((transfer.id, command.details))
    draft.follow(parent._replace(children=sequence, remaining=step.remaining, state=step.state))
    reads = draft.standing(command.client, kind).reads
    visible = visible_to(reads, command.client, debit.account, credit.account)
    return Posted(transfer, command.details, visible)

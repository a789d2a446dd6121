"""Deciding a group of transfers: all of it or nothing."""

from __future__ import annotations

from dataclasses import replace

from paycore.domain.accounts import AccountId
from paycore.domain.approvals import GroupApprovals
from paycore.domain.draft import Draft, Working
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.plan import GroupRow
from paycore.domain.refusals import Refusal
from paycore.domain.singles import admit, post, refusal_of
from paycore.domain.transfers import (
    Declined,
    GroupCommand,
    GroupPosted,
    Posted,
    RiskDecision,
    TransferCommand,
    accounts_of,
)


def decide_group(draft: Draft, group: GroupCommand) -> GroupPosted | Declined:
    """Post all items in their order, each seeing what those before it did, or none.

    A refusal by a rule of the ledger is stored, and names the first item that fails; raises
    PaycoreError, with the item, for what a retry decides afresh. Either way nothing is changed.
    """
    group_id = draft.next_id()
    before = {
        account_id: draft.account(account_id).figures()
        for account_id in accounts_of(group)
        if draft.knows(account_id)
    }
    plan = draft.plan
    transfers, details = len(plan.transfers), len(plan.details)
    approvals = GroupApprovals(draft, group)
    posted: list[Posted] = []
    outcome: GroupPosted | Declined
    try:
        for index, item in enumerate(group.items):
            debit, credit, basis, standing = admit(draft, item, group.client, approvals)
            refusal = _refusal(item, debit, credit)
            if refusal is not None:
                reason, figures = refusal
                _undo(draft, before, transfers, details)
                if reason is Reason.INSUFFICIENT_FUNDS:
                    figures = {**figures, **_shortfall(draft, group, item.debit_account)}
                outcome = draft.decline(
                    item,
                    item.amount,
                    reason,
                    {**figures, "item": str(index)},
                    client=group.client,
                    group_id=group_id,
                )
                draft.remember(
                    group.client, group.key, group.request_hash, outcome.decline.id, outcome
                )
                return outcome
            approved = approvals.with_authorization(item, basis)
            posted.append(
                post(draft, approved, debit, credit, basis, standing, group.client, group_id)
            )
    except PaycoreError as error:
        _undo(draft, before, transfers, details)
        raise replace(error, metadata={**error.metadata, "item": str(index)}) from error
    outcome = GroupPosted(group_id, posted)
    plan.groups.append(
        GroupRow(group_id, draft.now_us, group.client, tuple(one.transfer.id for one in posted))
    )
    plan.authorizations.extend(approvals.rows(group_id))
    draft.remember(group.client, group.key, group.request_hash, group_id, outcome)
    return outcome


def _refusal(item: TransferCommand, debit: Working, credit: Working) -> Refusal | None:
    """As for a single transfer; but what waits for a review cannot be all or nothing."""
    risk = item.risk
    if risk is not None and risk.decision is RiskDecision.REVIEW:
        return Reason.RISK_DECLINED, {"rule": risk.rule}
    return refusal_of(item, debit, credit)


def _undo(
    draft: Draft,
    before: dict[AccountId, tuple[int, int, int, int]],
    transfers: int,
    details: int,
) -> None:
    for account_id, figures in before.items():
        draft.account(account_id).restore(figures)
    draft.undo_transfers(transfers)
    del draft.plan.details[details:]


def _shortfall(draft: Draft, group: GroupCommand, payer: AccountId) -> dict[str, str]:
    """What the whole group asks of `payer`, and the least that it lacks for its items to pass."""
    available = draft.account(payer).available
    needed = 0
    left = lowest = available
    for item in group.items:
        if item.debit_account == payer:
            needed += item.amount
            left -= item.amount
            lowest = min(lowest, left)
        elif item.credit_account == payer:
            left += item.amount
    return {"available": str(available), "needed": str(needed), "shortfall": str(-lowest)}

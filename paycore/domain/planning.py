"""Deciding a batch of commands: a pure function from state to outcomes and rows.

Commands are decided in order of arrival, each against the state as the one before left it. The
checks of one command run in one order, so every outcome is deterministic: first the stored key,
then whatever is decided afresh on retry, last the refusals that the ledger remembers. In full:

- A transfer: key; SAME_ACCOUNT; ACCOUNT_NOT_FOUND; NOT_PERMITTED; kinds of account; currency;
  expected versions; the deadline of a hold; authorization or STEP_UP_REQUIRED; BALANCE_OVERFLOW;
  status; risk; funds. The items of a group one after the other, each in this order.
- What follows a transfer: key; TRANSFER_NOT_FOUND; NOT_PERMITTED; ILLEGAL_STATE by the parent's
  kind and review; currency; ILLEGAL_STATE by the parent's state; BALANCE_OVERFLOW; HOLD_NOT_OPEN;
  EXCEEDS_REMAINING; status; funds. A key that was used for another request is TRANSFER_NOT_FOUND
  too where the client may not see the parent.
"""

from __future__ import annotations

from collections.abc import Sequence

from paycore.domain.children import decide_child, seen_parent
from paycore.domain.draft import Draft
from paycore.domain.errors import PaycoreError, key_reused
from paycore.domain.groups import decide_group
from paycore.domain.plan import BatchState, Plan, StoredGroup, StoredOutcome
from paycore.domain.rules import Rules, visible_to
from paycore.domain.singles import decide_transfer
from paycore.domain.transfers import (
    ChildCommand,
    Command,
    Declined,
    GroupCommand,
    GroupPosted,
    Outcome,
    Posted,
    Refused,
    StoredDetails,
    Transfer,
    TransferCommand,
)


def plan_batch(
    state: BatchState,
    commands: Sequence[Command],
    rules: Rules,
    now_us: int,
    ids: Sequence[int],
) -> Plan:
    """Decide `commands` in order.

    `ids` are fresh and rising, at least as many as `ids_needed` says for each command. Never raises
    for a bad command: its outcome is Refused, and its neighbours are not concerned.
    """
    draft = Draft(state, rules, now_us, ids)
    outcomes = draft.plan.outcomes
    for command in commands:
        try:
            outcome = _decide(draft, command)
        except PaycoreError as error:
            outcome = Refused(error)
        outcomes.append(outcome)
    return draft.plan


def ids_needed(command: Command) -> int:
    """How many ids deciding `command` may take: for its rows, and for a decline beside them."""
    return len(command.items) + 2 if isinstance(command, GroupCommand) else 1


def _decide(draft: Draft, command: Command) -> Outcome:
    earlier = _earlier(draft, command)
    if earlier is not None:
        return earlier
    if isinstance(command, TransferCommand):
        return decide_transfer(draft, command)
    if isinstance(command, ChildCommand):
        return decide_child(draft, command)
    return decide_group(draft, command)


def _earlier(draft: Draft, command: Command) -> Outcome | None:
    """The outcome that the command's key already has, if it has one."""
    key = (command.client, command.key)
    decided = draft.decided.get(key)
    if decided is not None:
        request_hash, outcome = decided
        _check_same_request(draft, command, request_hash)
        match outcome:
            case Posted():
                return Posted(outcome.transfer, outcome.details, outcome.visible, replayed=True)
            case GroupPosted():
                return GroupPosted(outcome.id, outcome.transfers, replayed=True)
            case Declined():
                return Declined(
                    outcome.decline, outcome.details, outcome.payer_readable, replayed=True
                )
    stored = draft.stored.get(key)
    if stored is None:
        return None
    _check_same_request(draft, command, stored.request_hash)
    return _replayed(draft, command, stored)


def _replayed(draft: Draft, command: Command, stored: StoredOutcome) -> Outcome:
    row = stored.row
    match row:
        case Transfer():
            return _posted(draft, command.client, row, stored.details, stored)
        case StoredGroup():
            transfers = [
                _posted(draft, command.client, transfer, details, stored)
                for transfer, details in row.transfers
            ]
            return GroupPosted(row.id, transfers, True, stored.position)
        case None:
            raise key_reused(command.key)
        case _:
            payer = draft.account(row.debit_account).account
            readable = draft.may_read(command.client, payer)
            return Declined(row, stored.details, readable, True, stored.position)


def _posted(
    draft: Draft,
    client: str,
    transfer: Transfer,
    details: StoredDetails | None,
    stored: StoredOutcome,
) -> Posted:
    visible = visible_to(
        draft.standing(client, transfer.kind).reads,
        client,
        draft.account(transfer.debit_account).account,
        draft.account(transfer.credit_account).account,
    )
    return Posted(transfer, details, visible, True, stored.position)


def _check_same_request(draft: Draft, command: Command, request_hash: bytes) -> None:
    if command.request_hash == request_hash:
        return
    if isinstance(command, ChildCommand):
        # A used key must not tell whether there is a transfer that the client may not see.
        seen_parent(draft, command)
    raise key_reused(command.key)

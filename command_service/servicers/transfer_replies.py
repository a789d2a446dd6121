"""From the domain's outcomes to messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.position import Position
from paycore.domain.sealed import SealedDetails, Unreadable
from paycore.domain.transfers import (
    Declined,
    Details,
    GroupPosted,
    Outcome,
    Posted,
    Refused,
    StepUpBasis,
    Transfer,
    TransferKind,
    TransferState,
    shown_figures,
)
from paycore.runtime.errors import to_status
from paycore.v1 import actor_pb2, transfer_pb2

_KINDS = {kind: transfer_pb2.TransferKind.Value(f"TRANSFER_KIND_{kind}") for kind in TransferKind}
_BASES = {basis: transfer_pb2.StepUpBasis.Value(f"STEP_UP_BASIS_{basis}") for basis in StepUpBasis}
_STATES = {
    state: transfer_pb2.TransferState.Value(f"TRANSFER_STATE_{state}") for state in TransferState
}

_DETAILS_STATES = {
    why: transfer_pb2.DetailsState.Value(f"DETAILS_STATE_{why}") for why in Unreadable
}

_MESSAGES: dict[str, str] = {
    Reason.INSUFFICIENT_FUNDS: "the debited account has not enough",
    Reason.ACCOUNT_FROZEN: "the account is frozen",
    Reason.ACCOUNT_CLOSED: "the account is closed",
    Reason.EXCEEDS_REMAINING: "the transfer has not that much left",
    Reason.HOLD_NOT_OPEN: "the hold is not open any more",
    Reason.RISK_DECLINED: "a rule of risk declines the payment",
}


def timestamp(micros: int) -> Timestamp:
    """Microseconds since 1970 as a message."""
    seconds, rest = divmod(micros, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000)


def fill_transfer(message: transfer_pb2.Transfer, outcome: Posted) -> None:
    """Write a posted transfer into `message`, with the balances that the caller may read.

    In place, field by field: that takes half the time of building messages and copying them in.
    """
    transfer = outcome.transfer
    message.id = transfer.id
    message.kind = _KINDS[transfer.kind]
    message.state = _STATES[transfer.state]
    message.debit_account_id = transfer.debit_account
    message.credit_account_id = transfer.credit_account
    amount = message.amount
    amount.minor_units = transfer.amount
    amount.currency = transfer.currency
    message.debit_version = transfer.debit_version
    if outcome.visible.debit:
        message.debit_balance_after = transfer.debit_balance_after
        message.debit_held_after = transfer.debit_held_after
    if transfer.credit_version is not None:
        message.credit_version = transfer.credit_version
        if outcome.visible.credit and transfer.credit_balance_after is not None:
            message.credit_balance_after = transfer.credit_balance_after
    message.client = transfer.client
    message.step_up_basis = _BASES[transfer.step_up]
    create_time = message.create_time
    create_time.seconds, micros = divmod(transfer.created_at_us, 1_000_000)
    create_time.nanos = micros * 1_000
    if transfer.reference is not None:
        message.reference = transfer.reference
    if transfer.authorization_id is not None:
        message.authorization_id = transfer.authorization_id
    if transfer.effective_at_us is not None:
        message.effective_time.CopyFrom(timestamp(transfer.effective_at_us))
    match outcome.details:
        case None:
            pass
        case Details():
            _fill_details(message, outcome.details)
        case Unreadable():
            message.details_state = _DETAILS_STATES[outcome.details]
        case SealedDetails():
            raise AssertionError("what is sealed is opened before it is told")
    if transfer.parent_id is not None:
        _fill_parent(message, transfer)
    if transfer.kind is TransferKind.HOLD:
        message.remaining_minor_units = transfer.amount
        if transfer.expires_at_us is not None:
            message.expire_time.CopyFrom(timestamp(transfer.expires_at_us))
        if transfer.review is not None:
            message.review_rule = transfer.review
    if transfer.group_id is not None:
        message.group_id = transfer.group_id


def _fill_parent(message: transfer_pb2.Transfer, transfer: Transfer) -> None:
    if transfer.parent_id is not None:
        message.parent_id = transfer.parent_id
    if transfer.parent_sequence is not None:
        message.parent_sequence = transfer.parent_sequence
    if transfer.parent_remaining is not None:
        message.parent_remaining_minor_units = transfer.parent_remaining
    if transfer.parent_state is not None:
        message.parent_state = _STATES[transfer.parent_state]
    if transfer.released is not None:
        message.released_minor_units = transfer.released


def _fill_details(message: transfer_pb2.Transfer, details: Details) -> None:
    message.description = details.description
    if details.metadata:
        message.metadata.update(details.metadata)
    if details.user_id or details.device_id or details.ip_address:
        message.actor.CopyFrom(
            actor_pb2.Actor(
                user_id=details.user_id,
                device_id=details.device_id,
                ip_address=details.ip_address,
            )
        )


def decline_error(outcome: Declined) -> PaycoreError:
    """A stored decline as the error that its caller gets, now and at each replay."""
    decline = outcome.decline
    figures = shown_figures(decline.figures, payer_readable=outcome.payer_readable)
    metadata = {**figures, "decline_id": str(decline.id)}
    if outcome.position is not None:
        metadata["position"] = outcome.position.encode()
    if outcome.replayed:
        metadata["replayed"] = "true"
    return PaycoreError(Reason(decline.reason), _MESSAGES[decline.reason], metadata)


def error_of(outcome: Outcome) -> PaycoreError:
    """The error that a unary caller gets for an outcome that is none of what it asked for."""
    match outcome:
        case Refused():
            return outcome.error
        case Declined():
            return decline_error(outcome)
        case _:
            raise AssertionError("an outcome of another kind of command")


def position_of(outcome: Posted | GroupPosted | Declined) -> str:
    """The consistency token of `outcome`."""
    return "" if outcome.position is None else outcome.position.encode()


def fill_outcomes(messages: Any, outcomes: Sequence[Outcome], keys: Sequence[str] = ()) -> str:
    """Add each of `outcomes` to the repeated field `messages`, with its key where there are `keys`.

    Returns the latest position among them, encoded; empty when none stored anything.
    """
    texts: dict[Position, str] = {}
    for index, outcome in enumerate(outcomes):
        message = messages.add()
        if keys:
            message.idempotency_key = keys[index]
        if isinstance(outcome, Refused):
            message.error.CopyFrom(to_status(outcome.error))
            continue
        position = outcome.position
        if position is not None:
            # The outcomes of one transaction share their position.
            text = texts.get(position)
            if text is None:
                text = texts[position] = position.encode()
            message.position = text
        if outcome.replayed:
            message.replayed = True
        if isinstance(outcome, Posted):
            fill_transfer(message.transfer, outcome)
        else:
            message.error.CopyFrom(to_status(error_of(outcome)))
    return texts[max(texts)] if texts else ""

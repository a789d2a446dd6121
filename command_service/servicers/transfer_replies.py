"""From the domain's outcomes to messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.position import Position
from paycore.domain.transfers import (
    Declined,
    Details,
    Outcome,
    Posted,
    Refused,
    StepUpBasis,
    TransferKind,
    shown_figures,
)
from paycore.runtime.errors import to_status
from paycore.v1 import actor_pb2, transfer_pb2

_KINDS = {kind: transfer_pb2.TransferKind.Value(f"TRANSFER_KIND_{kind}") for kind in TransferKind}
_BASES = {basis: transfer_pb2.StepUpBasis.Value(f"STEP_UP_BASIS_{basis}") for basis in StepUpBasis}

_MESSAGES: dict[str, str] = {
    Reason.INSUFFICIENT_FUNDS: "the debited account has not enough",
    Reason.ACCOUNT_FROZEN: "the account is frozen",
    Reason.ACCOUNT_CLOSED: "the account is closed",
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
    message.state = transfer_pb2.TRANSFER_STATE_POSTED
    message.debit_account_id = transfer.debit_account
    message.credit_account_id = transfer.credit_account
    amount = message.amount
    amount.minor_units = transfer.amount
    amount.currency = transfer.currency
    message.debit_version = transfer.debit_version
    message.credit_version = transfer.credit_version
    if outcome.visible.debit:
        message.debit_balance_after = transfer.debit_balance_after
    if outcome.visible.credit:
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
    if outcome.details is not None:
        _fill_details(message, outcome.details)


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


def error_of(outcome: Declined | Refused) -> PaycoreError:
    """The error that a unary caller gets."""
    if isinstance(outcome, Refused):
        return outcome.error
    return decline_error(outcome)


def fill_outcomes(messages: Any, outcomes: Sequence[Outcome]) -> str:
    """Add each of `outcomes` to the repeated field `messages`.

    Returns the latest position among them, encoded; empty when none stored anything.
    """
    texts: dict[Position, str] = {}
    for outcome in outcomes:
        message = messages.add()
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

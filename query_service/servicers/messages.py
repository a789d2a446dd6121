"""From records to messages."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from paycore.domain.sealed import Unreadable
from paycore.domain.transfers import StepUpBasis, TransferKind, TransferState
from paycore.v1 import (
    actor_pb2,
    freshness_pb2,
    history_service_pb2,
    money_pb2,
    transfer_pb2,
)
from query_service.readers.port import Freshness
from query_service.readers.records import EntryRecord, TransferRecord

KINDS = {
    kind: transfer_pb2.TransferKind.Value(f"TRANSFER_KIND_{kind.value}") for kind in TransferKind
}
_STATES = {
    state: transfer_pb2.TransferState.Value(f"TRANSFER_STATE_{state.value}")
    for state in TransferState
}
_BASES = {
    basis: transfer_pb2.StepUpBasis.Value(f"STEP_UP_BASIS_{basis.value}") for basis in StepUpBasis
}

_DETAILS_STATES = {
    why: transfer_pb2.DetailsState.Value(f"DETAILS_STATE_{why.value}") for why in Unreadable
}


def transfer(record: TransferRecord) -> transfer_pb2.Transfer:
    """A transfer or a stored decline; None among its figures stays absent."""
    message = transfer_pb2.Transfer(
        id=record.id,
        kind=KINDS[record.kind],
        state=_STATES[record.state],
        debit_account_id=record.debit_account,
        credit_account_id=record.credit_account,
        amount=money_pb2.Money(minor_units=record.amount, currency=record.currency),
        debit_version=record.debit_version,
        credit_version=record.credit_version,
        debit_balance_after=record.debit_balance_after,
        credit_balance_after=record.credit_balance_after,
        debit_held_after=record.debit_held_after,
        remaining_minor_units=record.remaining,
        parent_id=record.parent_id,
        parent_sequence=record.parent_sequence,
        parent_remaining_minor_units=record.parent_remaining,
        released_minor_units=record.released,
        group_id=record.group_id,
        review_rule=record.review,
        client=record.client,
        reference=record.reference,
        authorization_id=record.authorization_id,
        create_time=timestamp(record.created_at_us),
        description=record.description,
        metadata=record.metadata,
    )
    if record.unreadable is not None:
        message.details_state = _DETAILS_STATES[record.unreadable]
    if record.step_up is not None:
        message.step_up_basis = _BASES[record.step_up]
    if record.parent_state is not None:
        message.parent_state = _STATES[record.parent_state]
    if record.expires_at_us is not None:
        message.expire_time.CopyFrom(timestamp(record.expires_at_us))
    if record.effective_at_us is not None:
        message.effective_time.CopyFrom(timestamp(record.effective_at_us))
    if record.user_id or record.device_id or record.ip_address:
        message.actor.CopyFrom(
            actor_pb2.Actor(
                user_id=record.user_id, device_id=record.device_id, ip_address=record.ip_address
            )
        )
    if record.state is TransferState.FAILED:
        message.decline.CopyFrom(
            transfer_pb2.Decline(reason=record.decline_reason, metadata=record.decline_figures)
        )
    return message


def entry(record: EntryRecord) -> history_service_pb2.StatementEntry:
    """One line of a statement."""
    message = history_service_pb2.StatementEntry(
        transfer_id=record.transfer,
        version=record.version,
        create_time=timestamp(record.created_at_us),
        kind=KINDS[record.kind],
        counterparty_account_id=record.counterparty,
        change_minor_units=record.change,
        balance_after_minor_units=record.balance_after,
        reference=record.reference,
        description=record.description,
        parent_id=record.parent_id,
    )
    if record.unreadable is not None:
        message.details_state = _DETAILS_STATES[record.unreadable]
    return message


def freshness(value: Freshness) -> freshness_pb2.Freshness:
    """Where an answer came from; position and lag stay empty where the source has not said."""
    message = freshness_pb2.Freshness(source=value.source)
    if value.position is not None:
        message.position = value.position.encode()
    if value.lag_us is not None:
        lag = Duration()
        lag.FromMicroseconds(value.lag_us)
        message.lag.CopyFrom(lag)
    if value.complete_from_us:
        message.complete_from.CopyFrom(timestamp(value.complete_from_us))
    return message


def timestamp(at_us: int) -> Timestamp:
    """Microseconds since 1970 as a message."""
    seconds, micros = divmod(at_us, 1_000_000)
    return Timestamp(seconds=seconds, nanos=micros * 1_000)

"""From the domain's outcomes to messages."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.position import Position
from paycore.domain.transfers import (
    Decline,
    Declined,
    Details,
    Outcome,
    Posted,
    Refused,
    StepUpBasis,
    Transfer,
    TransferKind,
    Visibility,
)
from paycore.runtime.errors import to_status
from paycore.v1 import actor_pb2, money_pb2, transfer_pb2

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


def transfer_message(
    transfer: Transfer, details: Details | None, visible: Visibility
) -> transfer_pb2.Transfer:
    """A posted transfer, with the balances that the caller may read."""
    seconds, rest = divmod(transfer.created_at_us, 1_000_000)
    message = transfer_pb2.Transfer(
        id=transfer.id,
        kind=_KINDS[transfer.kind],
        state=transfer_pb2.TRANSFER_STATE_POSTED,
        debit_account_id=transfer.debit_account,
        credit_account_id=transfer.credit_account,
        amount=money_pb2.Money(minor_units=transfer.amount, currency=transfer.currency),
        debit_version=transfer.debit_version,
        credit_version=transfer.credit_version,
        client=transfer.client,
        step_up_basis=_BASES[transfer.step_up],
        create_time=Timestamp(seconds=seconds, nanos=rest * 1_000),
        debit_balance_after=transfer.debit_balance_after if visible.debit else None,
        credit_balance_after=transfer.credit_balance_after if visible.credit else None,
        reference=transfer.reference or "",
        authorization_id=transfer.authorization_id or 0,
    )
    if transfer.effective_at_us is not None:
        message.effective_time.CopyFrom(timestamp(transfer.effective_at_us))
    if details is not None:
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
    return message


def decline_error(decline: Decline, position: Position | None, *, replayed: bool) -> PaycoreError:
    """A stored decline as the error that its caller gets, now and at each replay."""
    metadata = {**decline.figures, "decline_id": str(decline.id)}
    if position is not None:
        metadata["position"] = position.encode()
    if replayed:
        metadata["replayed"] = "true"
    return PaycoreError(Reason(decline.reason), _MESSAGES[decline.reason], metadata)


def error_of(outcome: Declined | Refused) -> PaycoreError:
    """The error that a unary caller gets."""
    if isinstance(outcome, Refused):
        return outcome.error
    return decline_error(outcome.decline, outcome.position, replayed=outcome.replayed)


def outcome_message(outcome: Outcome, position: str) -> transfer_pb2.TransferOutcome:
    """One outcome of a bulk reply; `position` is the outcome's, encoded."""
    if isinstance(outcome, Posted):
        return transfer_pb2.TransferOutcome(
            transfer=transfer_message(outcome.transfer, outcome.details, outcome.visible),
            position=position,
            replayed=outcome.replayed,
        )
    replayed = isinstance(outcome, Declined) and outcome.replayed
    return transfer_pb2.TransferOutcome(
        error=to_status(error_of(outcome)), position=position, replayed=replayed
    )


class PositionTexts:
    """Encoded positions of one reply: the outcomes of a batch share theirs."""

    __slots__ = ("_latest", "_texts")

    def __init__(self) -> None:
        self._texts: dict[Position, str] = {}
        self._latest: Position | None = None

    def of(self, outcome: Outcome) -> str:
        """The outcome's position, encoded; empty when nothing was stored."""
        if isinstance(outcome, Refused) or outcome.position is None:
            return ""
        position = outcome.position
        text = self._texts.get(position)
        if text is None:
            text = self._texts[position] = position.encode()
            if self._latest is None or position > self._latest:
                self._latest = position
        return text

    def latest(self) -> str:
        """The latest position asked for so far, encoded; empty when there was none."""
        return "" if self._latest is None else self._texts[self._latest]

"""From the requests that follow a transfer to what is asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from command_service.servicers.fields import (
    MAX_DESCRIPTION,
    MAX_REASON,
    MAX_REFERENCE,
    Fields,
)
from paycore.domain.idempotency import command_hash, details_hash
from paycore.domain.money import Currency, Minor
from paycore.domain.plan import ParentState
from paycore.domain.transfers import (
    ChildCommand,
    Details,
    TransferId,
    TransferKind,
    TransferState,
)
from paycore.v1 import actor_pb2, money_pb2
from paycore.v1 import transfer_service_pb2 as pb2


class ChildRequest(NamedTuple):
    """A well-formed request to follow `parent`, which is not known yet."""

    client: str
    key: str
    request_hash: bytes
    kind: TransferKind
    parent: TransferId
    amount: Minor | None
    currency: Currency | None
    final: bool
    review: bool
    released_as: TransferState
    reference: str | None
    details: Details | None
    details_hash: bytes | None
    names_actor: bool

    def command(self, parent: ParentState) -> ChildCommand:
        """The command, now that its parent is known: what it gave back goes the other way."""
        debit, credit = parent.transfer.debit_account, parent.transfer.credit_account
        if self.kind in (TransferKind.REFUND, TransferKind.REVERSAL):
            debit, credit = credit, debit
        return ChildCommand(
            self.client,
            self.key,
            self.request_hash,
            self.kind,
            self.parent,
            debit,
            credit,
            parent.transfer.currency,
            self.amount,
            self.currency,
            self.final,
            self.review,
            self.released_as,
            self.reference,
            self.details,
            self.details_hash,
        )


class _Asked(NamedTuple):
    """What the requests have in common, and what only some have."""

    key: str
    parent_field: str
    parent: int
    reference: str
    description: str
    actor: actor_pb2.Actor | None
    metadata: Mapping[str, str] | None = None
    amount: money_pb2.Money | None = None
    final: bool = True
    review: bool = False
    released_as: TransferState = TransferState.RELEASED
    reason: str | None = None


def parse_capture(request: pb2.CaptureHoldRequest, client: str, secret: bytes) -> ChildRequest:
    """Raises PaycoreError INVALID_FIELD that names every bad field; so do the others."""
    asked = _Asked(
        request.idempotency_key,
        "hold_id",
        request.hold_id,
        request.reference,
        request.description,
        request.actor if request.HasField("actor") else None,
        dict(request.metadata) or None,
        request.amount if request.HasField("amount") else None,
        final=request.final if request.HasField("final") else True,
    )
    return _parse(asked, TransferKind.CAPTURE, client, secret)


def parse_release(request: pb2.ReleaseHoldRequest, client: str, secret: bytes) -> ChildRequest:
    """Frees what a hold still has."""
    asked = _Asked(
        request.idempotency_key,
        "hold_id",
        request.hold_id,
        request.reference,
        request.description,
        request.actor if request.HasField("actor") else None,
    )
    return _parse(asked, TransferKind.RELEASE, client, secret)


def parse_refund(request: pb2.RefundTransferRequest, client: str, secret: bytes) -> ChildRequest:
    """Gives a payment back."""
    asked = _Asked(
        request.idempotency_key,
        "transfer_id",
        request.transfer_id,
        request.reference,
        request.description,
        request.actor if request.HasField("actor") else None,
        dict(request.metadata) or None,
        request.amount if request.HasField("amount") else None,
    )
    return _parse(asked, TransferKind.REFUND, client, secret)


def parse_reversal(request: pb2.ReverseTransferRequest, client: str, secret: bytes) -> ChildRequest:
    """Undoes a transfer, for a reason."""
    asked = _Asked(
        request.idempotency_key,
        "transfer_id",
        request.transfer_id,
        request.reference,
        "",
        request.actor if request.HasField("actor") else None,
        reason=request.reason,
    )
    return _parse(asked, TransferKind.REVERSAL, client, secret)


def parse_approval(request: pb2.ApproveReviewRequest, client: str, secret: bytes) -> ChildRequest:
    """Lets a payment go on: all that is held of it is captured."""
    return _parse(_review(request), TransferKind.CAPTURE, client, secret)


def parse_rollback(request: pb2.RefuseReviewRequest, client: str, secret: bytes) -> ChildRequest:
    """Rolls a payment back: what is held of it is freed."""
    asked = _review(request)._replace(released_as=TransferState.ROLLED_BACK)
    return _parse(asked, TransferKind.RELEASE, client, secret)


def _review(request: pb2.ApproveReviewRequest | pb2.RefuseReviewRequest) -> _Asked:
    return _Asked(
        request.idempotency_key,
        "transfer_id",
        request.transfer_id,
        "",
        "",
        request.actor if request.HasField("actor") else None,
        review=True,
        reason=request.reason,
    )


def _parse(asked: _Asked, kind: TransferKind, client: str, secret: bytes) -> ChildRequest:
    fields = Fields()
    fields.key(asked.key)
    if asked.parent <= 0:
        fields.violate(asked.parent_field, "the id of a transfer, above zero")
    fields.text("reference", asked.reference, MAX_REFERENCE)
    fields.text("description", asked.description, MAX_DESCRIPTION)
    if asked.reason is not None:
        fields.text("reason", asked.reason, MAX_REASON, required=True)
    if asked.metadata is not None:
        fields.metadata(asked.metadata)
    if asked.amount is not None:
        fields.money("amount", asked.amount)
    if asked.actor is not None:
        fields.actor(asked.actor)
    fields.check()
    description = asked.description if asked.reason is None else asked.reason
    details = _details(description, asked)
    amount = asked.amount
    return ChildRequest(
        client,
        asked.key,
        command_hash(
            secret,
            f"{kind}/1",
            asked.parent,
            "all" if amount is None else amount.minor_units,
            "" if amount is None else amount.currency,
            asked.final,
            asked.review,
            asked.released_as,
            asked.reference,
            description,
            *(part for item in sorted((asked.metadata or {}).items()) for part in item),
        ),
        kind,
        TransferId(asked.parent),
        None if amount is None else Minor(amount.minor_units),
        None if amount is None else Currency(amount.currency),
        asked.final,
        asked.review,
        asked.released_as,
        asked.reference or None,
        details,
        None if details is None else details_hash(secret, details),
        asked.actor is not None,
    )


def _details(description: str, asked: _Asked) -> Details | None:
    actor = asked.actor
    if actor is not None:
        return Details(
            actor.user_id, actor.device_id, actor.ip_address, description, asked.metadata
        )
    if description or asked.metadata is not None:
        return Details(description=description, metadata=asked.metadata)
    return None

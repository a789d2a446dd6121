"""From SubmitTransferRequest to the domain's command."""

from __future__ import annotations

from typing import NamedTuple

from command_service.servicers.fields import (
    MAX_DESCRIPTION,
    MAX_NAME,
    MAX_REFERENCE,
    Fields,
)
from paycore.domain.accounts import AccountId
from paycore.domain.idempotency import details_hash, transfer_request_hash
from paycore.domain.money import Currency, Minor
from paycore.domain.pin import SealedPin
from paycore.domain.transfers import Details, TransferCommand, TransferKind
from paycore.v1 import transfer_pb2, transfer_service_pb2

KINDS: dict[int, TransferKind] = {
    transfer_pb2.TRANSFER_KIND_TRANSFER: TransferKind.TRANSFER,
    transfer_pb2.TRANSFER_KIND_DEPOSIT: TransferKind.DEPOSIT,
    transfer_pb2.TRANSFER_KIND_WITHDRAWAL: TransferKind.WITHDRAWAL,
}
_KIND_NAMES = ", ".join(kind.value for kind in KINDS.values())
_MAX_CIPHERTEXT = 256


class Proof(NamedTuple):
    """The payer's approval as it came with the request."""

    sealed_pin: SealedPin
    signed_at_us: int


class ParsedTransfer(NamedTuple):
    """A well-formed request: the command, its proof if it carries one, and whether it names a
    user for whom the client acts."""

    command: TransferCommand
    proof: Proof | None
    names_actor: bool


def parse_transfer(
    request: transfer_service_pb2.SubmitTransferRequest,
    client: str,
    secret: bytes,
    prefix: str = "",
) -> ParsedTransfer:
    """Check every field of `request` and translate it; `prefix` is the path of a bulk item.

    Raises PaycoreError INVALID_FIELD that names every bad field.
    """
    fields = Fields(prefix)
    key = request.idempotency_key
    fields.key(key)
    kind = KINDS.get(request.kind)
    if kind is None:
        fields.violate("kind", f"one of {_KIND_NAMES}")
        kind = TransferKind.TRANSFER
    debit, credit = request.debit_account_id, request.credit_account_id
    if debit <= 0:
        fields.positive_id("debit_account_id", debit)
    if credit <= 0:
        fields.positive_id("credit_account_id", credit)
    amount = request.amount
    fields.money("amount", amount)
    reference, description = request.reference, request.description
    if reference:
        fields.text("reference", reference, MAX_REFERENCE)
    if description:
        fields.text("description", description, MAX_DESCRIPTION)
    metadata = dict(request.metadata) if request.metadata else None
    if metadata is not None:
        fields.metadata(metadata)
    effective_at_us = None
    if request.HasField("effective_time"):
        effective_at_us = fields.time_us("effective_time", request.effective_time)
    names_actor = request.HasField("actor")
    details = _details(request, fields, metadata, names_actor=names_actor)
    proof = _proof(request, fields) if request.HasField("step_up") else None
    fields.check()
    minor_units, currency = amount.minor_units, amount.currency
    return ParsedTransfer(
        TransferCommand(
            client,
            key,
            transfer_request_hash(
                secret,
                kind,
                debit,
                credit,
                minor_units,
                currency,
                reference,
                effective_at_us,
                description,
                metadata,
            ),
            kind,
            AccountId(debit),
            AccountId(credit),
            Minor(minor_units),
            Currency(currency),
            reference or None,
            details,
            None if details is None else details_hash(secret, details),
            effective_at_us,
            request.expected_debit_version if request.HasField("expected_debit_version") else None,
            (
                request.expected_credit_version
                if request.HasField("expected_credit_version")
                else None
            ),
        ),
        proof,
        names_actor,
    )


def _details(
    request: transfer_service_pb2.SubmitTransferRequest,
    fields: Fields,
    metadata: dict[str, str] | None,
    *,
    names_actor: bool,
) -> Details | None:
    if not names_actor:
        if metadata is None and not request.description:
            return None
        return Details(description=request.description, metadata=metadata)
    actor = request.actor
    fields.actor(actor)
    return Details(actor.user_id, actor.device_id, actor.ip_address, request.description, metadata)


def _proof(request: transfer_service_pb2.SubmitTransferRequest, fields: Fields) -> Proof | None:
    step_up = request.step_up
    sealed = step_up.sealed_pin
    if step_up.WhichOneof("proof") is None:
        fields.violate("step_up.proof", "a proof")
    if not step_up.HasField("sign_time"):
        fields.violate("step_up.sign_time", "when the payer signed")
    if not 0 < len(sealed.ciphertext) <= _MAX_CIPHERTEXT:
        fields.violate("step_up.sealed_pin.ciphertext", f"1 to {_MAX_CIPHERTEXT} bytes")
    fields.text("step_up.sealed_pin.key_id", sealed.key_id, MAX_NAME, required=True)
    signed_at_us = fields.time_us("step_up.sign_time", step_up.sign_time)
    return Proof(SealedPin(sealed.key_id, sealed.ciphertext), signed_at_us)

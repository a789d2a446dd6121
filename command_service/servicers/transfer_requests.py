"""From SubmitTransferRequest to the domain's command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from command_service.servicers.fields import (
    MAX_AMOUNT,
    MAX_DESCRIPTION,
    MAX_NAME,
    MAX_REFERENCE,
    Fields,
    is_key,
    is_text,
)
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError
from paycore.domain.idempotency import details_hash, transfer_request_hash
from paycore.domain.money import Currency, Minor
from paycore.domain.pin import MAX_SEALED_PIN_BYTES, SealedPin
from paycore.domain.transfers import Details, TransferCommand, TransferKind
from paycore.runtime.currencies import EXPONENTS
from paycore.v1 import transfer_pb2, transfer_service_pb2

KINDS: dict[int, TransferKind] = {
    transfer_pb2.TRANSFER_KIND_TRANSFER: TransferKind.TRANSFER,
    transfer_pb2.TRANSFER_KIND_DEPOSIT: TransferKind.DEPOSIT,
    transfer_pb2.TRANSFER_KIND_WITHDRAWAL: TransferKind.WITHDRAWAL,
}
_KIND_NAMES = ", ".join(kind.value for kind in KINDS.values())


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


class _Extras(NamedTuple):
    """What most requests do not carry."""

    metadata: Mapping[str, str] | None = None
    effective_at_us: int | None = None
    details: Details | None = None
    proof: Proof | None = None
    names_actor: bool = False


_NO_EXTRAS = _Extras()


def parse_transfer(
    request: transfer_service_pb2.SubmitTransferRequest,
    client: str,
    secret: bytes,
    place: int | None = None,
) -> ParsedTransfer:
    """Check every field of `request` and translate it; `place` is its index in a bulk request.

    Raises PaycoreError INVALID_FIELD that names every bad field.
    """
    key = request.idempotency_key
    kind = KINDS.get(request.kind)
    debit, credit = request.debit_account_id, request.credit_account_id
    amount = request.amount
    minor_units, currency = amount.minor_units, amount.currency
    reference, description = request.reference, request.description
    # One look decides for the request as it should be; which field is wrong is found out later.
    if (
        kind is None
        or debit <= 0
        or credit <= 0
        or not 0 < minor_units <= MAX_AMOUNT
        or currency not in EXPONENTS
        or not is_key(key)
        or (reference and not is_text(reference, MAX_REFERENCE))
        or (description and not is_text(description, MAX_DESCRIPTION))
    ):
        raise _complaint(request, place)
    extras = _NO_EXTRAS
    if description or request.metadata or _has_rare_fields(request):
        fields = Fields(_prefix(place))
        extras = _read_extras(request, fields)
        fields.check()
    details = extras.details
    command = TransferCommand(
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
            extras.effective_at_us,
            description,
            extras.metadata,
        ),
        kind,
        AccountId(debit),
        AccountId(credit),
        Minor(minor_units),
        Currency(currency),
        reference or None,
        details,
        None if details is None else details_hash(secret, details),
        extras.effective_at_us,
        request.expected_debit_version if request.HasField("expected_debit_version") else None,
        request.expected_credit_version if request.HasField("expected_credit_version") else None,
    )
    return ParsedTransfer(command, extras.proof, extras.names_actor)


def _has_rare_fields(request: transfer_service_pb2.SubmitTransferRequest) -> bool:
    return (
        request.HasField("actor")
        or request.HasField("step_up")
        or request.HasField("effective_time")
    )


def _prefix(place: int | None) -> str:
    return "" if place is None else f"transfers[{place}]."


def _complaint(
    request: transfer_service_pb2.SubmitTransferRequest, place: int | None
) -> PaycoreError:
    """Everything that is wrong with `request`."""
    fields = Fields(_prefix(place))
    fields.key(request.idempotency_key)
    if request.kind not in KINDS:
        fields.violate("kind", f"one of {_KIND_NAMES}")
    fields.positive_id("debit_account_id", request.debit_account_id)
    fields.positive_id("credit_account_id", request.credit_account_id)
    fields.money("amount", request.amount)
    fields.text("reference", request.reference, MAX_REFERENCE)
    fields.text("description", request.description, MAX_DESCRIPTION)
    _read_extras(request, fields)
    error = fields.error()
    if error is None:
        raise AssertionError("a request was refused in which nothing is wrong")
    return error


def _read_extras(request: transfer_service_pb2.SubmitTransferRequest, fields: Fields) -> _Extras:
    metadata = dict(request.metadata) or None
    if metadata is not None:
        fields.metadata(metadata)
    effective_at_us = None
    if request.HasField("effective_time"):
        effective_at_us = fields.time_us("effective_time", request.effective_time)
    names_actor = request.HasField("actor")
    details = None
    if names_actor:
        actor = request.actor
        fields.actor(actor)
        details = Details(
            actor.user_id, actor.device_id, actor.ip_address, request.description, metadata
        )
    elif metadata is not None or request.description:
        details = Details(description=request.description, metadata=metadata)
    proof = _proof(request, fields) if request.HasField("step_up") else None
    return _Extras(metadata, effective_at_us, details, proof, names_actor)


def _proof(request: transfer_service_pb2.SubmitTransferRequest, fields: Fields) -> Proof | None:
    step_up = request.step_up
    sealed = step_up.sealed_pin
    if step_up.WhichOneof("proof") is None:
        fields.violate("step_up.proof", "a proof")
    if not step_up.HasField("sign_time"):
        fields.violate("step_up.sign_time", "when the payer signed")
    if not 0 < len(sealed.ciphertext) <= MAX_SEALED_PIN_BYTES:
        fields.violate("step_up.sealed_pin.ciphertext", f"1 to {MAX_SEALED_PIN_BYTES} bytes")
    fields.text("step_up.sealed_pin.key_id", sealed.key_id, MAX_NAME, required=True)
    signed_at_us = fields.time_us("step_up.sign_time", step_up.sign_time)
    return Proof(SealedPin(sealed.key_id, sealed.ciphertext), signed_at_us)

"""From the requests of transfers that follow no other to the domain's commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from command_service.admission.proof import ParsedTransfer, Proof
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
from paycore.domain.device_key import (
    DEVICE_ID_CHARACTERS,
    MAX_SIGNATURE_BYTES,
    DeviceSignature,
    is_device_id,
)
from paycore.domain.errors import PaycoreError
from paycore.domain.idempotency import command_hash, details_hash, transfer_request_hash
from paycore.domain.money import Currency, Minor
from paycore.domain.pin import MAX_SEALED_PIN_BYTES, SealedPin
from paycore.domain.transfers import Details, TransferCommand, TransferKind
from paycore.runtime.account_names import SIDES
from paycore.runtime.currencies import EXPONENTS
from paycore.v1 import step_up_pb2, transfer_pb2, transfer_service_pb2

KINDS: dict[int, TransferKind] = {
    transfer_pb2.TRANSFER_KIND_TRANSFER: TransferKind.TRANSFER,
    transfer_pb2.TRANSFER_KIND_DEPOSIT: TransferKind.DEPOSIT,
    transfer_pb2.TRANSFER_KIND_WITHDRAWAL: TransferKind.WITHDRAWAL,
    transfer_pb2.TRANSFER_KIND_FEE: TransferKind.FEE,
    transfer_pb2.TRANSFER_KIND_NET_SETTLEMENT: TransferKind.NET_SETTLEMENT,
}
_KIND_NAMES = ", ".join(kind.value for kind in KINDS.values())


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
    *,
    keyed: bool = True,
) -> ParsedTransfer:
    """Check every field of `request` and translate it; `place` is its index in a bulk request.

    Its accounts must be named by id by then: only malformed identifiers may be left. The items of
    a group are not `keyed`. Raises PaycoreError INVALID_FIELD that names every bad field.
    """
    return _parse(request, client, secret, KINDS.get(request.kind), place, keyed=keyed)


def parse_grouped(
    item: transfer_service_pb2.GroupedTransfer, client: str, secret: bytes, place: int
) -> TransferCommand:
    """One item of a group, at `place` in it. Raises as `parse_transfer`."""
    request = transfer_service_pb2.SubmitTransferRequest(
        kind=item.kind,
        amount=item.amount,
        reference=item.reference,
        description=item.description,
        metadata=item.metadata,
        effective_time=item.effective_time if item.HasField("effective_time") else None,
    )
    _copy_accounts(item, request)
    if item.HasField("expected_debit_version"):
        request.expected_debit_version = item.expected_debit_version
    if item.HasField("expected_credit_version"):
        request.expected_credit_version = item.expected_credit_version
    return parse_transfer(request, client, secret, place, keyed=False).command


def parse_hold(
    request: transfer_service_pb2.HoldFundsRequest, client: str, secret: bytes
) -> ParsedTransfer:
    """A hold. Raises as `parse_transfer`; whether its time lies ahead is decided after its key."""
    inner = transfer_service_pb2.SubmitTransferRequest(
        idempotency_key=request.idempotency_key,
        amount=request.amount,
        reference=request.reference,
        description=request.description,
        metadata=request.metadata,
        actor=request.actor if request.HasField("actor") else None,
        effective_time=request.effective_time if request.HasField("effective_time") else None,
        step_up=request.step_up if request.HasField("step_up") else None,
    )
    _copy_accounts(request, inner)
    if request.HasField("expected_debit_version"):
        inner.expected_debit_version = request.expected_debit_version
    fields = Fields()
    expires_at_us = fields.time_us("expire_time", request.expire_time)
    if not request.HasField("expire_time"):
        fields.violate("expire_time", "until when the money is held")
    parsed = _parse(inner, client, secret, TransferKind.HOLD, None, keyed=True, fields=fields)
    command = parsed.command
    return parsed._replace(
        command=command._replace(
            request_hash=command_hash(secret, "hold/1", command.request_hash.hex(), expires_at_us),
            expires_at_us=expires_at_us,
        )
    )


def _parse(
    request: transfer_service_pb2.SubmitTransferRequest,
    client: str,
    secret: bytes,
    kind: TransferKind | None,
    place: int | None,
    *,
    keyed: bool,
    fields: Fields | None = None,
) -> ParsedTransfer:
    """As `parse_transfer`; `fields` may hold what was found wrong before."""
    key = request.idempotency_key
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
        or (keyed and not is_key(key))
        or (fields is not None and fields.error() is not None)
        or (reference and not is_text(reference, MAX_REFERENCE))
        or (description and not is_text(description, MAX_DESCRIPTION))
    ):
        raise _complaint(request, kind, fields or Fields(_prefix(place)), keyed=keyed)
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


def _copy_accounts(
    source: transfer_service_pb2.GroupedTransfer | transfer_service_pb2.HoldFundsRequest,
    target: transfer_service_pb2.SubmitTransferRequest,
) -> None:
    if source.HasField("debit_account_identifier"):
        target.debit_account_identifier.CopyFrom(source.debit_account_identifier)
    else:
        target.debit_account_id = source.debit_account_id
    if source.HasField("credit_account_identifier"):
        target.credit_account_identifier.CopyFrom(source.credit_account_identifier)
    else:
        target.credit_account_id = source.credit_account_id


def _has_rare_fields(request: transfer_service_pb2.SubmitTransferRequest) -> bool:
    return (
        request.HasField("actor")
        or request.HasField("step_up")
        or request.HasField("effective_time")
    )


def _prefix(place: int | None) -> str:
    return "" if place is None else f"transfers[{place}]."


def _complaint(
    request: transfer_service_pb2.SubmitTransferRequest,
    kind: TransferKind | None,
    fields: Fields,
    *,
    keyed: bool,
) -> PaycoreError:
    """Everything that is wrong with `request`."""
    if keyed:
        fields.key(request.idempotency_key)
    if kind is None:
        fields.violate("kind", f"one of {_KIND_NAMES}")
    for side in SIDES:
        fields.account(request, side)
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
    proof = read_proof(request.step_up, fields) if request.HasField("step_up") else None
    return _Extras(metadata, effective_at_us, details, proof, names_actor)


def read_proof(step_up: step_up_pb2.StepUp, fields: Fields) -> Proof:
    """The payer's approval; what is wrong with it is noted in `fields`."""
    if not step_up.HasField("sign_time"):
        fields.violate("step_up.sign_time", "when the payer signed")
    signed_at_us = fields.time_us("step_up.sign_time", step_up.sign_time)
    if step_up.HasField("device_signature"):
        return Proof(_device_signature(step_up.device_signature, fields), signed_at_us)
    sealed = step_up.sealed_pin
    if step_up.WhichOneof("proof") is None:
        fields.violate("step_up.proof", "a proof")
    if not 0 < len(sealed.ciphertext) <= MAX_SEALED_PIN_BYTES:
        fields.violate("step_up.sealed_pin.ciphertext", f"1 to {MAX_SEALED_PIN_BYTES} bytes")
    fields.text("step_up.sealed_pin.key_id", sealed.key_id, MAX_NAME, required=True)
    return Proof(SealedPin(sealed.key_id, sealed.ciphertext), signed_at_us)


def _device_signature(message: step_up_pb2.DeviceSignature, fields: Fields) -> DeviceSignature:
    field = "step_up.device_signature"
    if not is_device_id(message.device_id):
        fields.violate(f"{field}.device_id", f"{DEVICE_ID_CHARACTERS} hexadecimal digits")
    if not 0 < len(message.signature) <= MAX_SIGNATURE_BYTES:
        fields.violate(f"{field}.signature", f"1 to {MAX_SIGNATURE_BYTES} bytes")
    return DeviceSignature(message.device_id, message.signature)

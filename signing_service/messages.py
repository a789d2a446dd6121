"""Between the messages of Authorize and GetPublicKeys and the domain."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from paycore.domain.device_key import DeviceSignature
from paycore.domain.pin import SealedPin
from paycore.domain.step_up import (
    Authorization,
    AuthorizationMethod,
    GroupIntent,
    GroupLeg,
    PaymentIntent,
)
from paycore.signing.v1 import signing_service_pb2 as pb
from paycore.v1 import step_up_pb2, transfer_pb2
from signing_service.authorizer import Question
from signing_service.keystore.port import KeyPurpose, PublicKey
from signing_service.message_checks import PRINTABLE_ASCII, Checks, sealed_pin_of

MAX_LEGS = 1_000

_KIND_PREFIX = "TRANSFER_KIND_"

_METHODS = {
    AuthorizationMethod.PIN: pb.AUTHORIZATION_METHOD_PIN,
    AuthorizationMethod.DEVICE: pb.AUTHORIZATION_METHOD_DEVICE,
}
_PURPOSES = {
    KeyPurpose.SEALING: pb.KEY_PURPOSE_SEALING,
    KeyPurpose.AUTHORIZATION: pb.KEY_PURPOSE_AUTHORIZATION,
}


def question_of(request: pb.AuthorizeRequest) -> Question:
    """What an AuthorizeRequest asks. Raises PaycoreError INVALID_FIELD."""
    checks = Checks()
    checks.user(request.user_id)
    if request.WhichOneof("intent") == "group":
        _check_group(request.group, checks)
    else:
        _check_payment(request.payment, checks)
    checks.step_up(request.step_up, has_sign_time=request.step_up.HasField("sign_time"))
    checks.done()
    signed_at_us = request.step_up.sign_time.ToMicroseconds()
    intent = (
        _group_intent(request.group, signed_at_us)
        if request.WhichOneof("intent") == "group"
        else _payment_intent(request.payment, signed_at_us)
    )
    return Question(request.user_id, intent, _proof(request.step_up))


def authorization_message(authorization: Authorization) -> pb.Authorization:
    """`authorization` as others verify it."""
    return pb.Authorization(
        id=authorization.id,
        user_id=authorization.user_id,
        method=_METHODS[authorization.method],
        digest=authorization.digest,
        issue_time=time_message(authorization.issued_at_us),
        expire_time=time_message(authorization.expires_at_us),
        key_id=authorization.key_id,
        signature=authorization.signature,
    )


def key_message(key: PublicKey) -> pb.PublicKey:
    """A public key as it is published."""
    return pb.PublicKey(
        key_id=key.key_id,
        purpose=_PURPOSES[key.purpose],
        public_key=key.public_key,
        current=key.current,
    )


def time_message(time_us: int) -> Timestamp:
    """Microseconds since 1970 as a Timestamp."""
    message = Timestamp()
    message.FromMicroseconds(time_us)
    return message


def _check_payment(payment: pb.PaymentIntent, checks: Checks) -> None:
    checks.kind(payment.kind, "payment.kind")
    checks.account(payment.debit_account_id, "payment.debit_account_id")
    checks.account(payment.credit_account_id, "payment.credit_account_id")
    checks.money(payment.amount, "payment.amount")
    checks.name(payment.client, "payment.client", str.isprintable)
    checks.name(payment.idempotency_key, "payment.idempotency_key", PRINTABLE_ASCII.fullmatch)


def _check_group(group: pb.GroupIntent, checks: Checks) -> None:
    checks.name(group.client, "group.client", str.isprintable)
    checks.name(group.idempotency_key, "group.idempotency_key", PRINTABLE_ASCII.fullmatch)
    checks.account(group.payer_account_id, "group.payer_account_id")
    checks.that(0 < len(group.legs) <= MAX_LEGS, "group.legs", f"1 to {MAX_LEGS}")
    for index, leg in enumerate(group.legs[:MAX_LEGS]):
        field = f"group.legs[{index}]"
        checks.kind(leg.kind, f"{field}.kind")
        checks.account(leg.debit_account_id, f"{field}.debit_account_id")
        checks.account(leg.credit_account_id, f"{field}.credit_account_id")
        checks.money(leg.amount, f"{field}.amount")


def _payment_intent(payment: pb.PaymentIntent, signed_at_us: int) -> PaymentIntent:
    return PaymentIntent(
        kind=_kind(payment.kind),
        debit_account=payment.debit_account_id,
        credit_account=payment.credit_account_id,
        amount=payment.amount.minor_units,
        currency=payment.amount.currency,
        client=payment.client,
        idempotency_key=payment.idempotency_key,
        signed_at_us=signed_at_us,
    )


def _group_intent(group: pb.GroupIntent, signed_at_us: int) -> GroupIntent:
    legs = tuple(
        GroupLeg(
            kind=_kind(leg.kind),
            debit_account=leg.debit_account_id,
            credit_account=leg.credit_account_id,
            amount=leg.amount.minor_units,
            currency=leg.amount.currency,
        )
        for leg in group.legs
    )
    return GroupIntent(
        group.client, group.idempotency_key, group.payer_account_id, legs, signed_at_us
    )


def _proof(step_up: step_up_pb2.StepUp) -> SealedPin | DeviceSignature:
    if step_up.HasField("device_signature"):
        device = step_up.device_signature
        return DeviceSignature(device.device_id, device.signature)
    return sealed_pin_of(step_up.sealed_pin)


def _kind(kind: transfer_pb2.TransferKind.ValueType) -> str:
    return transfer_pb2.TransferKind.Name(kind).removeprefix(_KIND_PREFIX)

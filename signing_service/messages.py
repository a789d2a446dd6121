"""Between messages and the domain: shape is checked here, with every violation at once."""

from __future__ import annotations

import re
from collections.abc import Callable

from google.protobuf.timestamp_pb2 import Timestamp

from paycore.domain.errors import Violation, invalid_fields
from paycore.domain.pin import MAX_SEALED_PIN_BYTES, SealedPin
from paycore.domain.step_up import Authorization, AuthorizationMethod, PaymentIntent
from paycore.signing.v1 import signing_service_pb2 as pb
from paycore.v1 import step_up_pb2, transfer_pb2
from signing_service.authorizer import Question
from signing_service.keystore.port import KeyPurpose, PublicKey

MAX_NAME = 128

_KIND_PREFIX = "TRANSFER_KIND_"
_CURRENCY = re.compile(r"[A-Z]{3}")
_PRINTABLE_ASCII = re.compile(r"[\x20-\x7e]+")
_LATEST_S = 253_402_300_799
"""9999-12-31T23:59:59Z, the last second of google.protobuf.Timestamp."""

_METHODS = {AuthorizationMethod.PIN: pb.AUTHORIZATION_METHOD_PIN}
_PURPOSES = {
    KeyPurpose.SEALING: pb.KEY_PURPOSE_SEALING,
    KeyPurpose.AUTHORIZATION: pb.KEY_PURPOSE_AUTHORIZATION,
}


class _Checks:
    """Collects the violations of one request."""

    def __init__(self) -> None:
        self._violations: list[Violation] = []

    def that(self, holds: bool, field: str, rule: str) -> None:
        if not holds:
            self._violations.append(Violation(field, rule))

    def name(self, value: str, field: str, form: Callable[[str], object]) -> None:
        self.that(
            0 < len(value) <= MAX_NAME and bool(form(value)),
            field,
            f"1 to {MAX_NAME} printable characters",
        )

    def sealed_pin(self, sealed: step_up_pb2.SealedPin, field: str) -> None:
        self.name(sealed.key_id, f"{field}.key_id", _PRINTABLE_ASCII.fullmatch)
        self.that(
            0 < len(sealed.ciphertext) <= MAX_SEALED_PIN_BYTES,
            f"{field}.ciphertext",
            f"1 to {MAX_SEALED_PIN_BYTES} bytes",
        )

    def done(self) -> None:
        """Raise PaycoreError INVALID_FIELD if anything did not hold."""
        if self._violations:
            raise invalid_fields(tuple(self._violations))


def question_of(request: pb.AuthorizeRequest) -> Question:
    """What an AuthorizeRequest asks. Raises PaycoreError INVALID_FIELD."""
    payment, sign_time = request.payment, request.step_up.sign_time
    checks = _Checks()
    checks.name(request.user_id, "user_id", str.isprintable)
    checks.that(
        payment.kind != 0 and payment.kind in transfer_pb2.TransferKind.values(),
        "payment.kind",
        "a kind of transfer",
    )
    checks.that(payment.debit_account_id > 0, "payment.debit_account_id", "an account's id")
    checks.that(payment.credit_account_id > 0, "payment.credit_account_id", "an account's id")
    checks.that(payment.amount.minor_units > 0, "payment.amount.minor_units", "positive")
    checks.that(
        _CURRENCY.fullmatch(payment.amount.currency) is not None,
        "payment.amount.currency",
        "an ISO 4217 code",
    )
    checks.name(payment.client, "payment.client", str.isprintable)
    checks.name(payment.idempotency_key, "payment.idempotency_key", _PRINTABLE_ASCII.fullmatch)
    checks.that(
        request.step_up.HasField("sign_time") and _is_whole_us(sign_time),
        "step_up.sign_time",
        "a time in whole microseconds",
    )
    checks.that(
        request.step_up.WhichOneof("proof") == "sealed_pin", "step_up.proof", "a sealed PIN"
    )
    if request.step_up.HasField("sealed_pin"):
        checks.sealed_pin(request.step_up.sealed_pin, "step_up.sealed_pin")
    checks.done()
    kind = transfer_pb2.TransferKind.Name(payment.kind).removeprefix(_KIND_PREFIX)
    intent = PaymentIntent(
        kind=kind,
        debit_account=payment.debit_account_id,
        credit_account=payment.credit_account_id,
        amount=payment.amount.minor_units,
        currency=payment.amount.currency,
        client=payment.client,
        idempotency_key=payment.idempotency_key,
        signed_at_us=sign_time.ToMicroseconds(),
    )
    return Question(request.user_id, intent, _sealed_pin(request.step_up.sealed_pin))


def enrolment_of(request: pb.EnrollPinRequest) -> tuple[str, SealedPin]:
    """The user and the sealed PIN of an EnrollPinRequest. Raises PaycoreError INVALID_FIELD."""
    checks = _Checks()
    checks.name(request.user_id, "user_id", str.isprintable)
    checks.sealed_pin(request.sealed_pin, "sealed_pin")
    checks.done()
    return request.user_id, _sealed_pin(request.sealed_pin)


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


def _sealed_pin(message: step_up_pb2.SealedPin) -> SealedPin:
    return SealedPin(message.key_id, message.ciphertext)


def _is_whole_us(time: Timestamp) -> bool:
    return 0 <= time.seconds <= _LATEST_S and 0 <= time.nanos < 10**9 and time.nanos % 1_000 == 0

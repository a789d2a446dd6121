"""What a payer approves, and the signed statement that they did (PSD2 RTS articles 4 and 5).

Every encoding is a sequence of fields without padding, so that no two inputs share one:

- text:    2 bytes big-endian length in bytes, then UTF-8 as given (no normalization)
- bytes:   2 bytes big-endian length, then the bytes
- integer: 8 bytes big-endian, two's complement

The first field is a text that names the purpose and the version of the encoding; a change of any
layout changes its version. `tests/unit/domain/step_up_vectors.json` holds examples of each, for
implementations in other languages.
"""

from __future__ import annotations

import hashlib
import struct
from enum import StrEnum
from typing import NamedTuple

PAYMENT_ENCODING = "paycore.payment.v1"
ENROLMENT_ENCODING = "paycore.enrolment.v1"
AUTHORIZATION_ENCODING = "paycore.authorization.v1"

SIGN_TIME_WINDOW_US = 2 * 60 * 1_000_000
"""How far the payer's sign time may lie from the signer's clock, either way, in microseconds."""

AUTHORIZATION_LIFETIME_US = 2 * 60 * 1_000_000
"""How long after its issue an authorization may be posted, in microseconds."""

DIGEST_BYTES = 32
SIGNATURE_BYTES = 64


class AuthorizationMethod(StrEnum):
    """How the payer proved the approval."""

    PIN = "PIN"


class PaymentIntent(NamedTuple):
    """Exactly what the payer approves.

    `kind` is the name of a TransferKind, `amount` is in minor units of `currency`, `client` and
    `idempotency_key` bind the approval to one request, `signed_at_us` is the payer's clock at
    signing in microseconds since 1970.
    """

    kind: str
    debit_account: int
    credit_account: int
    amount: int
    currency: str
    client: str
    idempotency_key: str
    signed_at_us: int


class Authorization(NamedTuple):
    """The signing service's statement that `user_id` approved the payment with `digest`.

    Times are microseconds since 1970. `signature` is Ed25519 by key `key_id` over
    `authorization_bytes`. `signed_at_us`, the payer's sign time, is not signed itself: it is kept
    because the digest, which is, cannot be computed again without it.
    """

    id: int
    user_id: str
    method: AuthorizationMethod
    digest: bytes
    issued_at_us: int
    expires_at_us: int
    key_id: str
    signature: bytes
    signed_at_us: int


def payment_bytes(intent: PaymentIntent) -> bytes:
    """The canonical encoding of `intent`.

    Fields in order: text "paycore.payment.v1", text kind, integer debit account, integer credit
    account, integer amount, text currency, text client, text idempotency key, integer sign time.
    Raises ValueError when a text is longer than 65,535 bytes or an integer leaves int64.
    """
    return b"".join(
        (
            _text(PAYMENT_ENCODING),
            _text(intent.kind),
            _integer(intent.debit_account),
            _integer(intent.credit_account),
            _integer(intent.amount),
            _text(intent.currency),
            _text(intent.client),
            _text(intent.idempotency_key),
            _integer(intent.signed_at_us),
        )
    )


def payment_digest(intent: PaymentIntent) -> bytes:
    """SHA-256 of `payment_bytes`: what a proof is bound to. Raises ValueError as that does."""
    return hashlib.sha256(payment_bytes(intent)).digest()


def enrolment_binding(user_id: str) -> bytes:
    """What a PIN sealed for enrolment is bound to.

    SHA-256 of: text "paycore.enrolment.v1", text user id. Raises ValueError when the id is longer
    than 65,535 bytes.
    """
    return hashlib.sha256(_text(ENROLMENT_ENCODING) + _text(user_id)).digest()


def authorization_bytes(
    *,
    authorization_id: int,
    user_id: str,
    method: AuthorizationMethod,
    digest: bytes,
    issued_at_us: int,
    expires_at_us: int,
    key_id: str,
) -> bytes:
    """What the signing service signs.

    Fields in order: text "paycore.authorization.v1", integer id, text user id, text method, bytes
    digest, integer issue time, integer expiry time, text key id. Raises ValueError when a text is
    longer than 65,535 bytes, an integer leaves int64, or the digest has not 32 bytes.
    """
    if len(digest) != DIGEST_BYTES:
        raise ValueError(f"a digest has {DIGEST_BYTES} bytes")
    return b"".join(
        (
            _text(AUTHORIZATION_ENCODING),
            _integer(authorization_id),
            _text(user_id),
            _text(method.value),
            _prefixed(digest),
            _integer(issued_at_us),
            _integer(expires_at_us),
            _text(key_id),
        )
    )


def signed_bytes(authorization: Authorization) -> bytes:
    """What `authorization.signature` was made over. Raises ValueError as `authorization_bytes`."""
    return authorization_bytes(
        authorization_id=authorization.id,
        user_id=authorization.user_id,
        method=authorization.method,
        digest=authorization.digest,
        issued_at_us=authorization.issued_at_us,
        expires_at_us=authorization.expires_at_us,
        key_id=authorization.key_id,
    )


def is_fresh(signed_at_us: int, now_us: int) -> bool:
    """Whether a sign time is near enough to `now_us`, before or after it."""
    return abs(now_us - signed_at_us) <= SIGN_TIME_WINDOW_US


def _integer(value: int) -> bytes:
    try:
        return struct.pack(">q", value)
    except struct.error as error:
        raise ValueError("an integer is outside int64") from error


def _text(value: str) -> bytes:
    return _prefixed(value.encode("utf-8"))


def _prefixed(value: bytes) -> bytes:
    if len(value) > 0xFFFF:
        raise ValueError("a field is longer than 65,535 bytes")
    return struct.pack(">H", len(value)) + value

"""What a payer approves, and the signed statement that they did (PSD2 RTS articles 4 and 5).

Every encoding is a sequence of the fields of `paycore.domain.canonical`. The first is a text that
names the purpose and the version of the encoding; a change of any layout changes its version.
docs/step_up_digest.md describes them byte by byte, and `tests/unit/domain/step_up_vectors.json`
holds examples of each, for implementations in other languages.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import NamedTuple

from paycore.domain.canonical import integer, prefixed, text

PAYMENT_ENCODING = "paycore.payment.v1"
GROUP_ENCODING = "paycore.group.v1"
GROUP_LEGS_ENCODING = "paycore.group_legs.v1"
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
    DEVICE = "DEVICE"
    """By the signature of an enrolled device key."""


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


class GroupLeg(NamedTuple):
    """One transfer of a group; as in PaymentIntent."""

    kind: str
    debit_account: int
    credit_account: int
    amount: int
    currency: str


class GroupIntent(NamedTuple):
    """Exactly what one payer of a group approves: their own legs, as a part of the whole.

    `legs` are all transfers of the group in its order; `payer` is the account whose owner approves;
    the rest is as in PaymentIntent, `idempotency_key` being the group's.
    """

    client: str
    idempotency_key: str
    payer: int
    legs: tuple[GroupLeg, ...]
    signed_at_us: int


Intent = PaymentIntent | GroupIntent


class Authorization(NamedTuple):
    """The signing service's statement that `user_id` approved what has `digest`.

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
            text(PAYMENT_ENCODING),
            text(intent.kind),
            integer(intent.debit_account),
            integer(intent.credit_account),
            integer(intent.amount),
            text(intent.currency),
            text(intent.client),
            text(intent.idempotency_key),
            integer(intent.signed_at_us),
        )
    )


def payment_digest(intent: PaymentIntent) -> bytes:
    """SHA-256 of `payment_bytes`: what a proof is bound to. Raises ValueError as that does."""
    return hashlib.sha256(payment_bytes(intent)).digest()


def group_bytes(intent: GroupIntent) -> bytes:
    """The canonical encoding of what `intent.payer` approves of a group.

    Fields in order: text "paycore.group.v1", text client, text idempotency key, integer payer
    account, text currency, integer total; then of the payer's legs alone, in the group's order:
    integer how many, and of each text kind, integer credit account, integer amount; then bytes
    `group_legs_hash` of the whole group, integer sign time. Raises ValueError when the payer has no
    leg, or legs in two currencies, or a total beyond int64, and as `payment_bytes` does.
    """
    own = [leg for leg in intent.legs if leg.debit_account == intent.payer]
    currencies = {leg.currency for leg in own}
    if len(currencies) != 1:
        raise ValueError("a payer's legs of a group are at least one, and in one currency")
    fields = [
        text(GROUP_ENCODING),
        text(intent.client),
        text(intent.idempotency_key),
        integer(intent.payer),
        text(currencies.pop()),
        integer(sum(leg.amount for leg in own)),
        integer(len(own)),
    ]
    for leg in own:
        fields += (text(leg.kind), integer(leg.credit_account), integer(leg.amount))
    fields += (prefixed(group_legs_hash(intent.legs)), integer(intent.signed_at_us))
    return b"".join(fields)


def group_legs_hash(legs: tuple[GroupLeg, ...]) -> bytes:
    """SHA-256 over all legs of a group, those of other payers too.

    With it a payer's approval holds for this group as a whole, though the payer need not be shown
    what others pay. Fields in order: text "paycore.group_legs.v1", integer how many, and of each
    text kind, integer debit account, integer credit account, integer amount, text currency.
    """
    fields = [text(GROUP_LEGS_ENCODING), integer(len(legs))]
    for leg in legs:
        fields += (
            text(leg.kind),
            integer(leg.debit_account),
            integer(leg.credit_account),
            integer(leg.amount),
            text(leg.currency),
        )
    return hashlib.sha256(b"".join(fields)).digest()


def group_digest(intent: GroupIntent) -> bytes:
    """SHA-256 of `group_bytes`: what a payer's proof is bound to. Raises ValueError as that."""
    return hashlib.sha256(group_bytes(intent)).digest()


def intent_digest(intent: Intent) -> bytes:
    """What a proof of `intent` is bound to. Raises ValueError as the intent's own digest does."""
    match intent:
        case PaymentIntent():
            return payment_digest(intent)
        case GroupIntent():
            return group_digest(intent)


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
            text(AUTHORIZATION_ENCODING),
            integer(authorization_id),
            text(user_id),
            text(method.value),
            prefixed(digest),
            integer(issued_at_us),
            integer(expires_at_us),
            text(key_id),
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

"""Are the stored authorizations genuine, and for exactly the payments that they let through?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import asyncpg
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from operations.verify.tally import Finding
from paycore.domain.step_up import (
    Authorization,
    AuthorizationMethod,
    GroupIntent,
    GroupLeg,
    Intent,
    PaymentIntent,
    intent_digest,
    signed_bytes,
)

PAGE = 500


async def check_signatures(
    connection: asyncpg.Connection, queries: Any, keys: Mapping[str, bytes], *, low: int
) -> Finding:
    """Verify the authorizations of transfers from id `low` on.

    `keys` are raw Ed25519 public keys by id.
    """
    public = {key_id: Ed25519PublicKey.from_public_bytes(raw) for key_id, raw in keys.items()}
    examined = violations = 0
    first: dict[str, object] | None = None
    after = 0
    while rows := await queries.read_authorizations(connection, after=after, low=low, most=PAGE):
        for row in rows:
            examined += 1
            intent = await _intent(connection, queries, row)
            fault = _fault(row, intent, public)
            if fault is not None:
                violations += 1
                found = {
                    "authorization": row["id"],
                    "transfer": row["transfer"] or row["group_id"],
                    "fault": fault,
                }
                first = first or found
        after = rows[-1]["id"]
    return Finding("signatures", examined, violations, first)


async def _intent(connection: asyncpg.Connection, queries: Any, row: asyncpg.Record) -> Intent:
    """What the authorization let through: a transfer, or what a payer pays by a group."""
    if row["group_id"] is None:
        return PaymentIntent(
            kind=row["kind"],
            debit_account=row["debit_account"],
            credit_account=row["credit_account"],
            amount=row["amount"],
            currency=row["currency"],
            client=row["client"],
            idempotency_key=row["idempotency_key"],
            signed_at_us=row["signed_at_us"],
        )
    legs = await queries.read_group_legs(connection, id=row["group_id"])
    return GroupIntent(
        client=row["client"],
        idempotency_key=row["idempotency_key"],
        payer=row["payer"],
        legs=tuple(GroupLeg(*leg) for leg in legs),
        signed_at_us=row["signed_at_us"],
    )


def _fault(row: asyncpg.Record, intent: Intent, keys: Mapping[str, Ed25519PublicKey]) -> str | None:
    authorization = Authorization(
        id=row["id"],
        user_id=row["user_id"],
        method=AuthorizationMethod(row["method"]),
        digest=row["digest"],
        issued_at_us=row["issued_at_us"],
        expires_at_us=row["expires_at_us"],
        key_id=row["key_id"],
        signature=row["signature"],
        signed_at_us=row["signed_at_us"],
    )
    try:
        digest = intent_digest(intent)
    except ValueError:
        return "there is nothing of the payer's that it could approve"
    if digest != authorization.digest:
        return "the digest is that of another payment"
    key = keys.get(authorization.key_id)
    if key is None:
        return f"the signing service has no key {authorization.key_id}"
    try:
        key.verify(authorization.signature, signed_bytes(authorization))
    except InvalidSignature:
        return "the signature is not genuine"
    return None

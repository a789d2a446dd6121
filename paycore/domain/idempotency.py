"""What makes two requests with one key the same request.

Hashes are keyed (BLAKE2b in keyed mode, RFC 7693), because descriptions can be guessed. Fields are
joined by the unit separator, which validation keeps out of every text.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from paycore.domain.transfers import Details, TransferKind

HASH_BYTES = 16
_SEPARATOR = "\x1f"


def keyed_hash(secret: bytes, text: str) -> bytes:
    """Keyed hash of `text`, HASH_BYTES long. `secret` has at most 64 bytes."""
    return blake2b(text.encode(), key=secret, digest_size=HASH_BYTES).digest()


def transfer_request_hash(
    secret: bytes,
    kind: TransferKind,
    debit_account: int,
    credit_account: int,
    amount: int,
    currency: str,
    reference: str,
    effective_at_us: int | None,
    description: str,
    metadata: Mapping[str, str] | None,
) -> bytes:
    """Hash of a transfer's business fields: not of step-up, actor, expected versions, deadline."""
    text = (
        f"transfer/1\x1f{kind}\x1f{debit_account}\x1f{credit_account}\x1f{amount}\x1f{currency}"
        f"\x1f{reference}\x1f{'' if effective_at_us is None else effective_at_us}\x1f{description}"
    )
    if metadata:
        text = _SEPARATOR.join((text, *flattened(metadata)))
    return keyed_hash(secret, text)


def details_hash(secret: bytes, details: Details) -> bytes:
    """Hash of a transfer's personal data, which stays when the data itself is erased."""
    return keyed_hash(
        secret,
        _SEPARATOR.join(
            (
                "details/1",
                details.user_id,
                details.device_id,
                details.ip_address,
                details.description,
                *flattened(details.metadata or {}),
            )
        ),
    )


def command_hash(secret: bytes, name: str, *fields: object) -> bytes:
    """Hash of any other command: its name and its business fields in a fixed order."""
    return keyed_hash(secret, _SEPARATOR.join((name, *map(str, fields))))


def flattened(metadata: Mapping[str, str]) -> list[str]:
    """The keys and values of `metadata` in one order, as fields of a hash."""
    return [part for item in sorted(metadata.items()) for part in item]

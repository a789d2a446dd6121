"""Seals personal data with AES-256-GCM (NIST SP 800-38D), each row under the keys of its subjects.

A sealed row is a byte that names this layout, a nonce of 12 bytes, and the ciphertext of a JSON
list with its tag of 16 bytes. The id of the row and the ids of its keys are authenticated with it,
so a sealed row that is moved to another does not open.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Sequence
from struct import pack

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from paycore.domain.sealed import SealedDetails, SubjectKey
from paycore.domain.transfers import Details

LAYOUT = b"\x01"
NONCE_BYTES = 12
TAG_BYTES = 16

_LABEL = b"paycore/details/1"
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class SealBrokenError(Exception):
    """A sealed row does not open with these keys: altered, moved, or sealed under others."""


def seal(row_id: int, details: Details) -> SealedDetails:
    """`details` as the row `row_id` stores them, under `details.keys`.

    Raises ValueError where these are not one or two.
    """
    keys = details.keys
    key_ids = tuple(key.id for key in keys)
    fields = (
        details.user_id,
        details.device_id,
        details.ip_address,
        details.description,
        dict(details.metadata) if details.metadata else None,
    )
    return SealedDetails(
        row_id, key_ids, encrypt(_LABEL, keys, _encode(fields).encode(), _binding(row_id, key_ids))
    )


def unseal(row: SealedDetails, keys: Sequence[SubjectKey]) -> Details:
    """What `row` holds; `keys` are those that it names, in its order. Raises SealBrokenError."""
    if tuple(key.id for key in keys) != row.key_ids:
        raise SealBrokenError("these are not the keys of the row")
    plaintext = decrypt(_LABEL, keys, row.sealed, _binding(row.row_id, row.key_ids))
    return Details(*json.loads(plaintext))


def encrypt(label: bytes, keys: Sequence[SubjectKey], plaintext: bytes, bound: bytes) -> bytes:
    """`plaintext` as all of `keys` open it, and only together with `bound`.

    `label` names what it is: two keys are joined for nothing else. Raises ValueError where these
    are not one or two.
    """
    nonce = os.urandom(NONCE_BYTES)
    return LAYOUT + nonce + AESGCM(_joined(label, keys)).encrypt(nonce, plaintext, bound)


def decrypt(label: bytes, keys: Sequence[SubjectKey], sealed: bytes, bound: bytes) -> bytes:
    """What was encrypted with the same. Raises SealBrokenError."""
    if not sealed.startswith(LAYOUT) or len(sealed) < len(LAYOUT) + NONCE_BYTES + TAG_BYTES:
        raise SealBrokenError("no sealed row of a known layout")
    nonce = sealed[len(LAYOUT) : len(LAYOUT) + NONCE_BYTES]
    try:
        return AESGCM(_joined(label, keys)).decrypt(
            nonce, sealed[len(LAYOUT) + NONCE_BYTES :], bound
        )
    except InvalidTag:
        raise SealBrokenError("altered, moved, or sealed under other keys") from None


def key_ids(owner_key: int, actor_key: int | None) -> tuple[int, ...]:
    """The keys that a row names, in the order in which they open it."""
    return (owner_key,) if actor_key is None else (owner_key, actor_key)


def _joined(label: bytes, keys: Sequence[SubjectKey]) -> bytes:
    """One key that nobody has who lacks one of `keys` (HKDF-Extract, RFC 5869)."""
    match keys:
        case [one]:
            return one.secret
        case [one, other]:
            return hmac.digest(one.secret, label + other.secret, "sha256")
        case _:
            raise ValueError(f"rows are sealed under one key or two, not {len(keys)}")


def _binding(row_id: int, key_ids: Sequence[int]) -> bytes:
    return pack(f">{len(_LABEL)}s{1 + len(key_ids)}q", _LABEL, row_id, *key_ids)

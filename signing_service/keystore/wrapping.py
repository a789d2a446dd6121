"""How a key of purpose WRAPPING wraps a data key, whatever holds it.

For each data key it makes another AES-256-GCM key, as HMAC-SHA256 of a random salt (a KDF by NIST
SP 800-108), so that a keystore needs to do no more than it does for a pepper. The salt stands
before the ciphertext; that key is used once, and its nonce is zero.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from signing_service.keystore.port import WrappedKey, WrappingBrokenError

SALT_BYTES = 16

_LABEL = b"paycore/wrapping/1\x1f"
_NONCE = bytes(12)

Keyed = Callable[[bytes], bytes]
"""HMAC-SHA256 by the wrapping key."""


def wrap(key_id: str, keyed: Keyed, secret: bytes, binding: bytes) -> WrappedKey:
    """`secret` as only the wrapping key `key_id` and `binding` unwrap it."""
    salt = secrets.token_bytes(SALT_BYTES)
    return WrappedKey(key_id, salt + _cipher(keyed, salt).encrypt(_NONCE, secret, binding))


def unwrap(wrapped: WrappedKey, keyed: Keyed, binding: bytes) -> bytes:
    """What was wrapped. Raises WrappingBrokenError."""
    salt, sealed = wrapped.wrapped[:SALT_BYTES], wrapped.wrapped[SALT_BYTES:]
    try:
        return _cipher(keyed, salt).decrypt(_NONCE, sealed, binding)
    except (InvalidTag, ValueError):
        raise WrappingBrokenError("a wrapped data key does not unwrap") from None


def _cipher(keyed: Keyed, salt: bytes) -> AESGCM:
    return AESGCM(keyed(_LABEL + salt))

"""Opening what HPKE sealed where the private key is elsewhere (RFC 9180, base mode).

The library that seals wants the private key itself; an HSM gives out only the result of the key
agreement. From there on it is HKDF and one AEAD. For the suite of `paycore.runtime.hpke`, whose
ciphertexts the tests open both ways.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from paycore.runtime.hpke import KEY_BYTES

_VERSION = b"HPKE-v1"
_KEM_X25519, _KDF_SHA256, _AEAD_CHACHA20_POLY1305 = b"\x00\x20", b"\x00\x01", b"\x00\x03"
_KEM_SUITE = b"KEM" + _KEM_X25519
_SUITE = b"HPKE" + _KEM_X25519 + _KDF_SHA256 + _AEAD_CHACHA20_POLY1305
_MODE_BASE = b"\x00"
_AEAD_KEY_BYTES, _NONCE_BYTES = 32, 12


class Recipient(NamedTuple):
    """Who opens: the raw public key, and the key agreement, done wherever the private key is."""

    public_key: bytes
    agree: Callable[[bytes], bytes]
    """From the sender's raw public key to the raw shared secret of X25519."""


def open_sealed(recipient: Recipient, ciphertext: bytes, info: bytes) -> bytes:
    """The plaintext of `ciphertext`, which is the encapsulated key and the sealed bytes.

    Raises cryptography's InvalidTag when it was not sealed to this key and `info`.
    """
    encapsulated, sealed = ciphertext[:KEY_BYTES], ciphertext[KEY_BYTES:]
    agreed = recipient.agree(encapsulated)
    # RFC 9180, section 7.1.4: a point of small order agrees on zero with every key.
    if hmac.compare_digest(agreed, bytes(len(agreed))):
        raise InvalidTag
    key, nonce = message_key(encapsulated, recipient.public_key, agreed, info)
    return ChaCha20Poly1305(key).decrypt(nonce, sealed, b"")


def message_key(
    encapsulated: bytes, public_key: bytes, agreed: bytes, info: bytes
) -> tuple[bytes, bytes]:
    """Key and nonce of the one message between sender and recipient, from what they agreed upon."""
    context = encapsulated + public_key
    shared = _expand(
        _KEM_SUITE, _extract(_KEM_SUITE, b"", b"eae_prk", agreed), b"shared_secret", context, 32
    )
    schedule = (
        _MODE_BASE
        + _extract(_SUITE, b"", b"psk_id_hash", b"")
        + _extract(_SUITE, b"", b"info_hash", info)
    )
    secret = _extract(_SUITE, shared, b"secret", b"")
    return (
        _expand(_SUITE, secret, b"key", schedule, _AEAD_KEY_BYTES),
        _expand(_SUITE, secret, b"base_nonce", schedule, _NONCE_BYTES),
    )


def _extract(suite: bytes, salt: bytes, label: bytes, key: bytes) -> bytes:
    """LabeledExtract: HKDF-Extract is an HMAC keyed by the salt."""
    return hmac.digest(salt, _VERSION + suite + label + key, "sha256")


def _expand(suite: bytes, secret: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """LabeledExpand."""
    labeled = length.to_bytes(2, "big") + _VERSION + suite + label + info
    return HKDFExpand(hashes.SHA256(), length, labeled).derive(secret)

"""Keys that a user's device holds, and the approvals that it signs with them."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

MAX_PUBLIC_KEY_BYTES = 65
MAX_SIGNATURE_BYTES = 72
"""Of an ECDSA signature over P-256 in DER; an Ed25519 signature has 64."""

DEVICE_ID_CHARACTERS = 32
_HEXADECIMAL = frozenset("0123456789abcdef")


def is_device_id(text: str) -> bool:
    """Whether `text` has the form of a device's id: hexadecimal digits in lower case."""
    return len(text) == DEVICE_ID_CHARACTERS and set(text) <= _HEXADECIMAL


class DeviceAlgorithm(StrEnum):
    """Which kind of key a device has. What it signs is always the 32 bytes of a digest."""

    ED25519 = "ED25519"
    """Public key: raw 32 bytes. Signature: 64 bytes (RFC 8032)."""
    P256 = "P256"
    """Public key: SEC 1 uncompressed point, 65 bytes. Signature: ECDSA with SHA-256 in DER, as
    Secure Enclave and Android Keystore give it."""


class DeviceSignature(NamedTuple):
    """A device's approval: `signature` is made over the digest of the payment or group."""

    device_id: str
    signature: bytes

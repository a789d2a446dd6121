"""The HPKE suite in which PINs are sealed and opened (RFC 9180)."""

from __future__ import annotations

from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
"""Its ciphertext is the encapsulated key, then the sealed bytes and their tag."""

KEY_BYTES = 32
OVERHEAD_BYTES = 32 + 16
"""By how much a ciphertext is longer than what it seals: encapsulated key and tag."""

"""What the library seals opens by a key agreement done elsewhere."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from paycore.runtime.hpke import KEY_BYTES, SUITE
from signing_service.keystore.hpke_opening import Recipient, message_key, open_sealed


def recipient(key: X25519PrivateKey) -> Recipient:
    return Recipient(
        key.public_key().public_bytes_raw(),
        lambda point: key.exchange(X25519PublicKey.from_public_bytes(point)),
    )


@pytest.mark.parametrize("plaintext", [b"", b"7391" + bytes(12), bytes(1_000)])
@pytest.mark.parametrize("info", [b"", b"i" * 32])
def test_what_was_sealed_opens_with_its_key_and_info_only(plaintext: bytes, info: bytes) -> None:
    key = X25519PrivateKey.generate()
    sealed = SUITE.encrypt(plaintext, key.public_key(), info=info)
    assert open_sealed(recipient(key), sealed, info) == plaintext
    with pytest.raises(InvalidTag):
        open_sealed(recipient(key), sealed, info + b"x")
    with pytest.raises(InvalidTag):
        open_sealed(recipient(X25519PrivateKey.generate()), sealed, info)


def test_an_agreement_on_zero_opens_nothing_even_what_was_sealed_by_it() -> None:
    public_key, zero = X25519PrivateKey.generate().public_key().public_bytes_raw(), bytes(KEY_BYTES)
    key, nonce = message_key(zero, public_key, zero, b"info")
    forged = zero + ChaCha20Poly1305(key).encrypt(nonce, b"7391" + bytes(12), b"")
    with pytest.raises(InvalidTag):
        open_sealed(Recipient(public_key, lambda _: zero), forged, b"info")

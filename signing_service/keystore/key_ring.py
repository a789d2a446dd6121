"""Keys in memory: what an adapter has once it has read them."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field, replace
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from paycore.domain.pin import PLAINTEXT_BYTES, Pin, pin_of_plaintext
from paycore.runtime.hpke import OVERHEAD_BYTES, SUITE
from signing_service.keystore.port import (
    KeyPurpose,
    KeystoreError,
    PublicKey,
    SealBrokenError,
    UnknownKeyError,
)

SECRET_BYTES = 32
"""Every secret key has this length: X25519, Ed25519 seed, pepper."""


@dataclass(frozen=True, slots=True)
class Key:
    """One secret key. `created_at_us` is in microseconds since 1970."""

    key_id: str
    purpose: KeyPurpose
    current: bool
    created_at_us: int
    secret: bytes = field(repr=False)

    @classmethod
    def generate(cls, purpose: KeyPurpose, now_us: int) -> Self:
        """A new current key from the system's randomness."""
        secret = secrets.token_bytes(SECRET_BYTES)
        if purpose is KeyPurpose.PEPPER:
            name = secrets.token_hex(8)
        else:
            name = hashlib.sha256(_public_bytes(purpose, secret)).hexdigest()[:16]
        return cls(f"{purpose.value.lower()}-{name}", purpose, True, now_us, secret)


class KeyRing:
    """The port `Keystore` over keys in memory; adapters that read keys from somewhere return it."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        """Raises KeystoreError unless ids are unique and each purpose has one current key."""
        if len({key.key_id for key in keys}) != len(keys):
            raise KeystoreError("two keys have one id")
        self.keys = keys
        self._signing = {
            key.key_id: Ed25519PrivateKey.from_private_bytes(key.secret)
            for key in keys
            if key.purpose is KeyPurpose.AUTHORIZATION
        }
        self._sealing = {
            key.key_id: X25519PrivateKey.from_private_bytes(key.secret)
            for key in keys
            if key.purpose is KeyPurpose.SEALING
        }
        self._peppers = {key.key_id: key.secret for key in keys if key.purpose is KeyPurpose.PEPPER}
        self._current = {purpose: _current(keys, purpose) for purpose in KeyPurpose}

    @classmethod
    def generate(cls, now_us: int) -> Self:
        """One new key of each purpose."""
        return cls(tuple(Key.generate(purpose, now_us) for purpose in KeyPurpose))

    def rotated(self, purpose: KeyPurpose, now_us: int) -> Self:
        """This ring with a new current key of `purpose`; the old ones stay."""
        kept = (replace(key, current=False) if key.purpose is purpose else key for key in self.keys)
        return type(self)((*kept, Key.generate(purpose, now_us)))

    @property
    def signing_key_id(self) -> str:
        return self._current[KeyPurpose.AUTHORIZATION]

    @property
    def pepper_id(self) -> str:
        return self._current[KeyPurpose.PEPPER]

    def public_keys(self) -> tuple[PublicKey, ...]:
        return tuple(
            PublicKey(key.key_id, key.purpose, _public_bytes(key.purpose, key.secret), key.current)
            for key in self.keys
            if key.purpose is not KeyPurpose.PEPPER
        )

    def sign(self, key_id: str, message: bytes) -> bytes:
        key = self._signing.get(key_id)
        if key is None:
            raise UnknownKeyError(f"no signing key {key_id}")
        return key.sign(message)

    def open_pin(self, key_id: str, ciphertext: bytes, binding: bytes) -> Pin:
        key = self._sealing.get(key_id)
        if key is None:
            raise SealBrokenError("no such sealing key")
        if len(ciphertext) != PLAINTEXT_BYTES + OVERHEAD_BYTES:
            raise SealBrokenError("wrong length")
        try:
            return pin_of_plaintext(SUITE.decrypt(ciphertext, key, info=binding))
        except InvalidTag:
            raise SealBrokenError("not sealed to this key and binding") from None
        except ValueError:
            raise SealBrokenError("no PIN inside") from None

    def pepper(self, key_id: str, message: bytes) -> bytes:
        key = self._peppers.get(key_id)
        if key is None:
            raise UnknownKeyError(f"no pepper {key_id}")
        return hmac.digest(key, message, "sha256")


def _current(keys: tuple[Key, ...], purpose: KeyPurpose) -> str:
    current = [key.key_id for key in keys if key.purpose is purpose and key.current]
    if len(current) != 1:
        raise KeystoreError(f"{len(current)} current keys of purpose {purpose}, not one")
    return current[0]


def _public_bytes(purpose: KeyPurpose, secret: bytes) -> bytes:
    match purpose:
        case KeyPurpose.AUTHORIZATION:
            return Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
        case KeyPurpose.SEALING:
            return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
        case KeyPurpose.PEPPER:
            raise KeystoreError("a pepper has no public key")

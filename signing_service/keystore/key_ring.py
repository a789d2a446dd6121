"""Keys in memory: what an adapter has once it has read them."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from paycore.domain.pin import PLAINTEXT_BYTES, Pin, pin_of_plaintext
from paycore.runtime.clock import Clock, SystemClock
from paycore.runtime.hpke import OVERHEAD_BYTES, SUITE
from signing_service.keystore import wrapping
from signing_service.keystore.port import (
    UNPUBLISHED,
    KeyEntry,
    KeyPurpose,
    KeystoreError,
    PublicKey,
    SealBrokenError,
    UnknownKeyError,
    WrappedKey,
)
from signing_service.keystore.schedule import Schedule

SECRET_BYTES = 32
"""Every secret key has this length: X25519, Ed25519 seed, pepper, wrapping."""


@dataclass(frozen=True, slots=True)
class Key:
    """One secret key. Times are microseconds since 1970.

    From `active_from_us` on it is the one in use for what is new, until a later one is.
    """

    key_id: str
    purpose: KeyPurpose
    created_at_us: int
    active_from_us: int
    secret: bytes = field(repr=False)

    @classmethod
    def generate(cls, purpose: KeyPurpose, now_us: int, active_from_us: int | None = None) -> Self:
        """A new key from the system's randomness, in use at once unless stated otherwise."""
        secret = secrets.token_bytes(SECRET_BYTES)
        if purpose in UNPUBLISHED:
            name = secrets.token_hex(8)
        else:
            name = hashlib.sha256(_public_bytes(purpose, secret)).hexdigest()[:16]
        active_us = now_us if active_from_us is None else active_from_us
        return cls(f"{purpose.value.lower()}-{name}", purpose, now_us, active_us, secret)


class KeyRing:
    """The port `Keystore` over keys in memory; adapters that read keys from somewhere return it."""

    def __init__(self, keys: tuple[Key, ...], clock: Clock | None = None) -> None:
        """Raises KeystoreError unless ids are unique and each purpose has a key."""
        if len({key.key_id for key in keys}) != len(keys):
            raise KeystoreError("two keys have one id")
        self.keys = keys
        self._clock = clock or SystemClock()
        self._schedule = Schedule((key.key_id, key.purpose, key.active_from_us) for key in keys)
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
        self._wrapping = {
            key.key_id: key.secret for key in keys if key.purpose is KeyPurpose.WRAPPING
        }

    @classmethod
    def generate(cls, now_us: int) -> Self:
        """One new key of each purpose."""
        return cls(tuple(Key.generate(purpose, now_us) for purpose in KeyPurpose))

    @classmethod
    def completed(cls, keys: tuple[Key, ...], now_us: int) -> Self:
        """`keys`, with a new key of each purpose that they lack."""
        lacking = [one for one in KeyPurpose if all(key.purpose is not one for key in keys)]
        return cls((*keys, *(Key.generate(purpose, now_us) for purpose in lacking)))

    def rotated(self, purpose: KeyPurpose, now_us: int, active_from_us: int | None = None) -> Self:
        """This ring with one more key of `purpose`; the old ones stay."""
        return type(self)((*self.keys, Key.generate(purpose, now_us, active_from_us)), self._clock)

    @property
    def signing_key_id(self) -> str:
        return self._schedule.current(KeyPurpose.AUTHORIZATION, self._clock.now_us())

    @property
    def pepper_id(self) -> str:
        return self._schedule.current(KeyPurpose.PEPPER, self._clock.now_us())

    def public_keys(self) -> tuple[PublicKey, ...]:
        now_us = self._clock.now_us()
        return tuple(
            PublicKey(
                key.key_id,
                key.purpose,
                _public_bytes(key.purpose, key.secret),
                key.key_id == self._schedule.current(key.purpose, now_us),
            )
            for key in self.keys
            if key.purpose not in UNPUBLISHED
        )

    def inventory(self) -> tuple[KeyEntry, ...]:
        return self._schedule.inventory(self._clock.now_us())

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

    def close(self) -> None:
        """Nothing is held but memory."""

    def pepper(self, key_id: str, message: bytes) -> bytes:
        key = self._peppers.get(key_id)
        if key is None:
            raise UnknownKeyError(f"no pepper {key_id}")
        return hmac.digest(key, message, "sha256")

    def wrap(self, secret: bytes, binding: bytes) -> WrappedKey:
        key_id = self._schedule.current(KeyPurpose.WRAPPING, self._clock.now_us())
        return wrapping.wrap(key_id, self._keyed(key_id), secret, binding)

    def unwrap(self, wrapped: WrappedKey, binding: bytes) -> bytes:
        return wrapping.unwrap(wrapped, self._keyed(wrapped.wrapping_key_id), binding)

    def _keyed(self, key_id: str) -> wrapping.Keyed:
        key = self._wrapping.get(key_id)
        if key is None:
            raise UnknownKeyError(f"no wrapping key {key_id}")
        return lambda message: hmac.digest(key, message, "sha256")


def _public_bytes(purpose: KeyPurpose, secret: bytes) -> bytes:
    match purpose:
        case KeyPurpose.AUTHORIZATION:
            return Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
        case KeyPurpose.SEALING:
            return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
        case KeyPurpose.PEPPER | KeyPurpose.WRAPPING:
            raise KeystoreError(f"a key of purpose {purpose} has no public half")

"""What the signing service needs of whatever holds its secret keys."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Protocol

from paycore.domain.pin import Pin


class KeyPurpose(StrEnum):
    """What a key is for; a key never serves two purposes."""

    SEALING = "SEALING"
    """X25519: PINs are sealed to it."""
    AUTHORIZATION = "AUTHORIZATION"
    """Ed25519: signs authorizations."""
    PEPPER = "PEPPER"
    """32 random bytes: keys the HMAC of a PIN before it is hashed. Never published."""
    WRAPPING = "WRAPPING"
    """32 random bytes: wraps the data keys of subjects. Never published."""


UNPUBLISHED = frozenset({KeyPurpose.PEPPER, KeyPurpose.WRAPPING})
"""Purposes whose keys have no public half."""


class PublicKey(NamedTuple):
    """A key as everybody may know it: raw 32 bytes; `current` ones are in use for what is new."""

    key_id: str
    purpose: KeyPurpose
    public_key: bytes
    current: bool


class KeyEntry(NamedTuple):
    """A key as its keeper sees it, peppers too. `active_from_us` is when it came, or comes, into
    use for what is new, in microseconds since 1970."""

    key_id: str
    purpose: KeyPurpose
    active_from_us: int
    current: bool


class WrappedKey(NamedTuple):
    """A data key as it may be stored, and the id of the key that unwraps it."""

    wrapping_key_id: str
    wrapped: bytes


class KeystoreError(Exception):
    """The keys cannot be used: the message says why and never holds key material."""


class UnknownKeyError(KeystoreError):
    """No key of that purpose has that id."""


class SealBrokenError(Exception):
    """A sealed PIN does not open: wrong key, wrong binding, altered, or no PIN inside."""


class WrappingBrokenError(KeystoreError):
    """A wrapped data key does not unwrap: wrong key, wrong binding, or altered."""


class Keystore(Protocol):
    """Uses secret keys without giving them out. Old keys stay and go on opening and verifying."""

    @property
    def signing_key_id(self) -> str:
        """The current key of purpose AUTHORIZATION."""
        ...

    @property
    def pepper_id(self) -> str:
        """The current key of purpose PEPPER."""
        ...

    def public_keys(self) -> tuple[PublicKey, ...]:
        """All keys that others seal to or verify with, old ones included."""
        ...

    def inventory(self) -> tuple[KeyEntry, ...]:
        """All keys, in the order in which they came or come into use."""
        ...

    def sign(self, key_id: str, message: bytes) -> bytes:
        """Ed25519 signature, 64 bytes. Raises UnknownKeyError."""
        ...

    def open_pin(self, key_id: str, ciphertext: bytes, binding: bytes) -> Pin:
        """The PIN sealed to key `key_id` with `binding` as HPKE info. Raises SealBrokenError."""
        ...

    def close(self) -> None:
        """Give up what it holds, such as a session. It is not used any more after that."""
        ...

    def pepper(self, key_id: str, message: bytes) -> bytes:
        """HMAC-SHA256 of `message`, 32 bytes. Raises UnknownKeyError."""
        ...

    def wrap(self, secret: bytes, binding: bytes) -> WrappedKey:
        """`secret` under the current key of purpose WRAPPING; only `binding` unwraps it again."""
        ...

    def unwrap(self, wrapped: WrappedKey, binding: bytes) -> bytes:
        """What was wrapped with `binding`. Raises UnknownKeyError, WrappingBrokenError."""
        ...

"""PINs as secrets: a type that never shows its value, and the bytes that are sealed."""

from __future__ import annotations

from typing import NamedTuple, NoReturn

MIN_DIGITS = 4
MAX_DIGITS = 12

PLAINTEXT_BYTES = 16
"""What is sealed always has this length, so that a sealed PIN does not tell how long the PIN is."""

MAX_SEALED_PIN_BYTES = 256
"""Longest ciphertext of a sealed PIN that is looked at: it has 64 bytes as they are sealed now."""

_PADDING = b"\0"


class Pin:
    """4 to 12 decimal digits. Prints as `***`, cannot be pickled, and has no accidental way out."""

    __slots__ = ("_digits",)

    def __init__(self, digits: str) -> None:
        """Raises ValueError, which does not repeat the value, when it is not 4 to 12 digits."""
        if not (
            digits.isascii() and digits.isdecimal() and MIN_DIGITS <= len(digits) <= MAX_DIGITS
        ):
            raise ValueError(f"a PIN has {MIN_DIGITS} to {MAX_DIGITS} digits")
        self._digits = digits

    def reveal(self) -> str:
        """The digits, for sealing and for hashing only."""
        return self._digits

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a PIN is not pickled")


class SealedPin(NamedTuple):
    """A PIN that only the signing service can open.

    HPKE (RFC 9180, base mode, DHKEM X25519 HKDF-SHA256, HKDF-SHA256, ChaCha20-Poly1305):
    `ciphertext` is the encapsulated key (32 bytes), then the sealed `pin_plaintext` (16 bytes and a
    tag of 16). The HPKE info is the payment's digest, or the enrolment binding.
    """

    key_id: str
    ciphertext: bytes

    def __repr__(self) -> str:
        return f"SealedPin(key_id={self.key_id!r}, ciphertext=***)"


def pin_plaintext(pin: Pin) -> bytes:
    """What is sealed: the digits in ASCII, then zero bytes up to 16 bytes."""
    return pin.reveal().encode("ascii").ljust(PLAINTEXT_BYTES, _PADDING)


def pin_of_plaintext(plaintext: bytes) -> Pin:
    """The PIN that `pin_plaintext` made `plaintext` of.

    Raises ValueError, which does not repeat the value, when it is of any other form.
    """
    if len(plaintext) != PLAINTEXT_BYTES:
        raise ValueError(f"a sealed PIN has {PLAINTEXT_BYTES} bytes")
    digits = plaintext.rstrip(_PADDING)
    if not digits.isdigit():
        raise ValueError("a PIN has digits only")
    return Pin(digits.decode("ascii"))

"""Challenges: made for one user, good once, for minutes.

A challenge carries its own proof of origin, so that none is written down before it was used:
however many are asked for, and for whomever, nothing fills up, and a user who exists costs what any
other does. Layout: expiry (8 bytes, microseconds since 1970), 16 random bytes, the pepper's id as a
text field, then 32 bytes of HMAC-SHA256 under that pepper over the purpose, the user and all before
it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import NamedTuple

from paycore.domain.canonical import integer, text
from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.clock import Clock
from signing_service.keystore.port import Keystore, UnknownKeyError

LIFETIME_US = 5 * 60 * 1_000_000
MAX_CHALLENGE_BYTES = 160

_PURPOSE = b"\0paycore.challenge.v1\0"
"""Begins as no message of a PIN does: those begin with a user id, which has no NUL."""
_EXPIRY_BYTES, _RANDOM_BYTES, _LENGTH_BYTES, _MAC_BYTES = 8, 16, 2, 32
_MIN_BYTES = _EXPIRY_BYTES + _RANDOM_BYTES + _LENGTH_BYTES + _MAC_BYTES


class Challenge(NamedTuple):
    """A challenge that is genuine, of the user asked about, and not expired yet."""

    value: bytes
    expires_at_us: int

    @property
    def hash(self) -> bytes:
        """What it is remembered by once it was used."""
        return hashlib.sha256(self.value).digest()


class Challenges:
    """Makes and recognizes challenges; any process with the same keystore does."""

    def __init__(self, keystore: Keystore, clock: Clock) -> None:
        self._keystore = keystore
        self._clock = clock

    def create(self, user_id: str) -> Challenge:
        """A new challenge of `user_id`."""
        expires_at_us = self._clock.now_us() + LIFETIME_US
        pepper_id = self._keystore.pepper_id
        content = integer(expires_at_us) + secrets.token_bytes(_RANDOM_BYTES) + text(pepper_id)
        return Challenge(content + self._mac(pepper_id, user_id, content), expires_at_us)

    def recognize(self, user_id: str, value: bytes) -> Challenge:
        """The challenge that `value` is. Raises PaycoreError AUTHORIZATION_INVALID when it is not
        one of ours for `user_id`, AUTHORIZATION_EXPIRED."""
        if not _MIN_BYTES < len(value) <= MAX_CHALLENGE_BYTES:
            raise invalid_challenge("it is none")
        content, mac = value[:-_MAC_BYTES], value[-_MAC_BYTES:]
        pepper_id = content[_EXPIRY_BYTES + _RANDOM_BYTES + _LENGTH_BYTES :]
        try:
            expected = self._mac(pepper_id.decode("ascii"), user_id, content)
        except (UnknownKeyError, UnicodeDecodeError):
            raise invalid_challenge("it is none") from None
        if not hmac.compare_digest(mac, expected):
            raise invalid_challenge("it is none of this user")
        expires_at_us = int.from_bytes(content[:_EXPIRY_BYTES], "big")
        if expires_at_us <= self._clock.now_us():
            raise PaycoreError(
                Reason.AUTHORIZATION_EXPIRED, "the challenge is too old", {"why": "ask for another"}
            )
        return Challenge(value, expires_at_us)

    def _mac(self, pepper_id: str, user_id: str, content: bytes) -> bytes:
        return self._keystore.pepper(pepper_id, _PURPOSE + text(user_id) + content)


def invalid_challenge(why: str) -> PaycoreError:
    """The refusal of a challenge."""
    return PaycoreError(Reason.AUTHORIZATION_INVALID, "the challenge is not valid", {"why": why})

"""How PINs are kept: argon2id over an HMAC by a pepper that is not in the database."""

from __future__ import annotations

import secrets
from typing import NamedTuple

from argon2.exceptions import VerifyMismatchError
from argon2.low_level import Type, hash_secret, verify_secret

from paycore.domain.pin import Pin
from signing_service.hashing_pool import HashingPool
from signing_service.keystore.port import Keystore

MEMORY_KIB = 19 * 1024
PASSES = 2
LANES = 1
SALT_BYTES = 16
HASH_BYTES = 32


class PinRecord(NamedTuple):
    """A PIN as it is stored: argon2's own encoding (parameters, salt, hash), and which pepper."""

    pepper_id: str
    encoded_hash: str


class PinHasher:
    """Makes and checks records. Each costs one hash in the pool, of which the caller has a place.

    A million 6-digit PINs fall in some core-hours to whoever has the records alone; the pepper,
    which only the keystore holds, is what stands against that.
    """

    def __init__(self, keystore: Keystore, pool: HashingPool) -> None:
        self._keystore = keystore
        self._pool = pool
        # What the PINs of users without one are compared with: nobody's.
        self._nobody = PinRecord(keystore.pepper_id, _hash(secrets.token_bytes(HASH_BYTES)))

    async def record(self, user_id: str, pin: Pin) -> PinRecord:
        """`pin` as it is stored for `user_id`."""
        pepper_id = self._keystore.pepper_id
        peppered = self._peppered(pepper_id, user_id, pin)
        return PinRecord(pepper_id, await self._pool.run(lambda: _hash(peppered)))

    async def matches(self, user_id: str, pin: Pin, record: PinRecord | None) -> bool:
        """Whether `pin` is the one recorded. The work is the same where there is no record.

        Raises UnknownKeyError when the keystore lacks the record's pepper.
        """
        compared = self._nobody if record is None else record
        peppered = self._peppered(compared.pepper_id, user_id, pin)
        return await self._pool.run(lambda: _verify(compared.encoded_hash, peppered))

    def is_outdated(self, record: PinRecord | None) -> bool:
        """Whether a correct PIN should be recorded anew: its pepper is not the current one."""
        return record is not None and record.pepper_id != self._keystore.pepper_id

    def _peppered(self, pepper_id: str, user_id: str, pin: Pin) -> bytes:
        # With the user in it, a record copied to another user's row opens nothing. The PIN has
        # digits only, so the separator is unambiguous.
        message = b"\0".join((user_id.encode("utf-8"), pin.reveal().encode("ascii")))
        return self._keystore.pepper(pepper_id, message)


def _hash(secret: bytes) -> str:
    salt = secrets.token_bytes(SALT_BYTES)
    encoded = hash_secret(secret, salt, PASSES, MEMORY_KIB, LANES, HASH_BYTES, Type.ID)
    return encoded.decode("ascii")


def _verify(encoded: str, secret: bytes) -> bool:
    try:
        return verify_secret(encoded.encode("ascii"), secret, Type.ID)
    except VerifyMismatchError:
        return False

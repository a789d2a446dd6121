"""Sets a user's first PIN."""

from __future__ import annotations

import hashlib

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.pin import Pin, SealedPin
from paycore.domain.enrolment import enrolment_binding
from signing_service.hashing_pool import HashingPool
from signing_service.keystore.port import Keystore, SealBrokenError
from signing_service.metrics import ENROLMENTS
from signing_service.pins import PinHasher
from signing_service.policy import weakness
from signing_service.store import Enrolment, Store


class Enroller:
    """Enrols PINs; a PIN that exists is never replaced."""

    def __init__(
        self, store: Store, keystore: Keystore, hasher: PinHasher, pool: HashingPool
    ) -> None:
        self._store = store
        self._keystore = keystore
        self._hasher = hasher
        self._pool = pool

    async def enrol(self, user_id: str, sealed: SealedPin) -> int:
        """When the PIN was set, in microseconds since 1970.

        The same sealed PIN sent again gets the same time. Raises PaycoreError:
        AUTHORIZATION_INVALID when it does not open with the enrolment binding of `user_id`,
        PIN_TOO_WEAK, PIN_ALREADY_ENROLLED, OVERLOADED, DATABASE_UNAVAILABLE, CONTENTION.
        """
        try:
            enrolled_at_us = await self._enrol(user_id, sealed)
        except PaycoreError as error:
            ENROLMENTS.labels(error.reason.value).inc()
            raise
        ENROLMENTS.labels("ENROLLED").inc()
        return enrolled_at_us

    async def _enrol(self, user_id: str, sealed: SealedPin) -> int:
        pin = self._open(user_id, sealed)
        weak = weakness(pin)
        if weak is not None:
            raise PaycoreError(
                Reason.PIN_TOO_WEAK, "the PIN is too easy to guess", {"weakness": weak.value}
            )
        proof = hashlib.sha256(sealed.ciphertext).digest()
        existing = await self._store.find_enrolment(user_id)
        if existing is None:
            with self._pool.place():
                record = await self._hasher.record(user_id, pin)
                enrolled_at_us = await self._store.enrol(user_id, record, proof)
            if enrolled_at_us is not None:
                return enrolled_at_us
            existing = await self._store.find_enrolment(user_id)
        return _repeated(existing, proof)

    def _open(self, user_id: str, sealed: SealedPin) -> Pin:
        try:
            return self._keystore.open_pin(
                sealed.key_id, sealed.ciphertext, enrolment_binding(user_id)
            )
        except SealBrokenError as error:
            raise PaycoreError(
                Reason.AUTHORIZATION_INVALID,
                "the sealed PIN is not valid",
                {"why": f"the sealed PIN does not open: {error}"},
            ) from None


def _repeated(existing: Enrolment | None, proof: bytes) -> int:
    if existing is None or existing.proof != proof:
        raise PaycoreError(Reason.PIN_ALREADY_ENROLLED, "the user has a PIN already")
    return existing.enrolled_at_us

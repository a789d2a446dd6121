"""The life of a PIN: set, changed, reset, unlocked."""

from __future__ import annotations

import hashlib

import asyncpg

from paycore.domain.enrolment import enrolment_binding, new_pin_binding, pin_change_digest
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.pin import Pin, SealedPin
from signing_service.attempts import Earn
from signing_service.challenges import Challenge, Challenges, invalid_challenge
from signing_service.events import Event, SecurityEvent, record
from signing_service.hashing_pool import HashingPool
from signing_service.metrics import ENROLMENTS
from signing_service.pin_check import PinChecker, PinProof
from signing_service.pin_store import PinStore
from signing_service.pins import PinHasher
from signing_service.policy import weakness
from signing_service.under_way import UnderWay


class PinKeeper:
    """Sets PINs. One that is in force is replaced by its owner, who knows it, or reset."""

    def __init__(
        self,
        store: PinStore,
        checker: PinChecker,
        challenges: Challenges,
        hasher: PinHasher,
        pool: HashingPool,
        under_way: UnderWay,
    ) -> None:
        self._store = store
        self._checker = checker
        self._challenges = challenges
        self._hasher = hasher
        self._pool = pool
        self._under_way = under_way

    async def enrol(self, user_id: str, sealed: SealedPin, actor: str) -> int:
        """When the PIN was set, in microseconds since 1970.

        The same sealed PIN sent again gets the same time while it is in force. The work is the same
        where a PIN is in force; the answer cannot be, for who enrols has to know. Raises
        PaycoreError: AUTHORIZATION_INVALID when it does not open with the enrolment binding of
        `user_id`, or was set before and reset since; PIN_TOO_WEAK, PIN_ALREADY_ENROLLED,
        OVERLOADED, DATABASE_UNAVAILABLE, CONTENTION.
        """
        try:
            enrolled_at_us, new = await self._enrol(user_id, sealed)
        except PaycoreError as error:
            ENROLMENTS.labels(error.reason.value).inc()
            raise
        ENROLMENTS.labels("ENROLLED").inc()
        if new:
            record(SecurityEvent(Event.PIN_ENROLLED, user_id, actor=actor))
        return enrolled_at_us

    async def _enrol(self, user_id: str, sealed: SealedPin) -> tuple[int, bool]:
        pin = self._checker.open(sealed, enrolment_binding(user_id))
        _refuse_weak(pin)
        proof = _proof(sealed)
        with self._pool.place():
            hashed = await self._hasher.record(user_id, pin)
            enrolled_at_us = await self._store.enrol(user_id, hashed, proof)
        if enrolled_at_us is not None:
            return enrolled_at_us, True
        existing = await self._store.find(user_id)
        if existing is None or existing.proof != proof:
            raise PaycoreError(Reason.PIN_ALREADY_ENROLLED, "the user has a PIN already")
        return existing.enrolled_at_us, False

    async def change(
        self,
        user_id: str,
        challenge: bytes,
        old: SealedPin,
        new: SealedPin,
        actor: str,
        deadline_s: float,
    ) -> int:
        """When the PIN was changed, in microseconds since 1970; the same message again, the same.

        The old PIN is sealed with the sealed new one in its binding, so that a carrier of the
        message cannot set another. Raises PaycoreError: AUTHORIZATION_INVALID when the challenge is
        not the user's or was used, or a sealed PIN does not open; AUTHORIZATION_EXPIRED,
        PIN_TOO_WEAK of the new one; and as `PinChecker.require` does of the old one.
        """
        return await self._under_way.run(
            self._change(user_id, challenge, old, new, actor, deadline_s)
        )

    async def _change(
        self,
        user_id: str,
        value: bytes,
        old: SealedPin,
        new: SealedPin,
        actor: str,
        deadline_s: float,
    ) -> int:
        challenge = self._challenges.recognize(user_id, value)
        pin = self._checker.open(new, new_pin_binding(user_id, value))
        _refuse_weak(pin)
        changed = False

        async def prepare(_: int) -> Earn:
            hashed = await self._hasher.record(user_id, pin)

            async def earn(connection: asyncpg.Connection) -> None:
                nonlocal changed
                await self._store.change(connection, user_id, hashed, _proof(new), challenge)
                changed = True

            return earn

        proof = PinProof(
            user_id, old, pin_change_digest(user_id, value, new), challenge.expires_at_us
        )
        await self._checker.require(proof, prepare, deadline_s)
        existing = await self._store.find(user_id)
        if existing is None or existing.proof != _proof(new):
            raise invalid_challenge("it was used")
        if changed:
            record(SecurityEvent(Event.PIN_CHANGED, user_id, actor=actor))
        return existing.enrolled_at_us

    async def reset(
        self, user_id: str, reason: str, actor: str, *, keep_devices: bool = False
    ) -> list[str]:
        """Take the PIN of `user_id` out of force, if there is one: another can then be enrolled.

        With it go the devices, whose ids are returned, if they are not kept. The lock of a user
        stays until another PIN is enrolled. Raises PaycoreError DATABASE_UNAVAILABLE, CONTENTION.
        """
        revoked = await self._store.reset(user_id, keep_devices=keep_devices)
        record(SecurityEvent(Event.PIN_RESET, user_id, reason=reason, actor=actor))
        for device_id in revoked:
            record(SecurityEvent(Event.DEVICE_REVOKED, user_id, device_id, reason, actor))
        return revoked

    async def unlock(self, user_id: str, reason: str, actor: str) -> None:
        """End the lock of `user_id`, if there is one. Raises PaycoreError DATABASE_UNAVAILABLE,
        CONTENTION."""
        await self._store.unlock(user_id)
        record(SecurityEvent(Event.PIN_UNLOCKED, user_id, reason=reason, actor=actor))

    def challenge(self, user_id: str) -> Challenge:
        """A challenge for one change of `user_id`, or one enrolment of a device."""
        return self._challenges.create(user_id)


def _refuse_weak(pin: Pin) -> None:
    weak = weakness(pin)
    if weak is not None:
        raise PaycoreError(
            Reason.PIN_TOO_WEAK, "the PIN is too easy to guess", {"weakness": weak.value}
        )


def _proof(sealed: SealedPin) -> bytes:
    return hashlib.sha256(sealed.ciphertext).digest()

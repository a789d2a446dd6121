"""The life of a device key: enrolled with the user's PIN or on a caller's word, and revoked."""

from __future__ import annotations

import asyncpg

from paycore.domain.device_key import DEVICE_ID_CHARACTERS, DeviceAlgorithm
from paycore.domain.enrolment import device_enrolment_digest
from paycore.domain.errors import PaycoreError, Reason, invalid_field
from paycore.domain.pin import SealedPin
from signing_service.attempts import Earn
from signing_service.challenges import Challenge, Challenges, invalid_challenge
from signing_service.device_keys import DeviceKey
from signing_service.device_store import (
    MAX_DEVICES,
    Added,
    Device,
    DeviceInForce,
    DeviceStore,
    NewDevice,
)
from signing_service.events import Event, SecurityEvent, record
from signing_service.pin_check import PinChecker, PinProof
from signing_service.under_way import UnderWay


class Presented:
    """A key as a device presents it: with its signature over its own enrolment."""

    def __init__(
        self,
        user_id: str,
        challenge: bytes,
        algorithm: DeviceAlgorithm,
        public_key: bytes,
        signature: bytes,
    ) -> None:
        """Raises PaycoreError INVALID_FIELD when `public_key` is none."""
        self.user_id = user_id
        self.challenge = challenge
        self.digest = device_enrolment_digest(user_id, challenge, algorithm, public_key)
        self._algorithm = algorithm
        self._public_key = public_key
        self._signature = signature
        try:
            self._key = DeviceKey(algorithm, public_key)
        except ValueError:
            raise invalid_field("key.public_key", f"a public key of {algorithm}") from None

    def is_possessed(self) -> bool:
        """Whether who presents the key has its private part."""
        return self._key.signed(self._signature, self.digest)

    def as_new(self, vouched_by: str | None) -> NewDevice:
        """What is written. Its id follows from the challenge: unguessable, and the same again."""
        device_id = self.digest.hex()[:DEVICE_ID_CHARACTERS]
        return NewDevice(device_id, self.user_id, self._algorithm, self._public_key, vouched_by)


class DeviceKeeper:
    """Enrols and revokes the keys of users' devices."""

    def __init__(
        self,
        store: DeviceStore,
        checker: PinChecker,
        challenges: Challenges,
        under_way: UnderWay,
    ) -> None:
        self._store = store
        self._checker = checker
        self._challenges = challenges
        self._under_way = under_way

    async def enrol(
        self, presented: Presented, sealed: SealedPin, actor: str, deadline_s: float
    ) -> Device:
        """The device, which the PIN in `sealed` approves; the same message again, the same.

        Raises PaycoreError: AUTHORIZATION_INVALID when the challenge is not the user's or was used,
        the signature is not the key's, the sealed PIN does not open, or the device was revoked
        since; AUTHORIZATION_EXPIRED, TOO_MANY_DEVICES, and as `PinChecker.require` does.
        """
        return await self._under_way.run(self._enrol(presented, sealed, actor, deadline_s))

    async def vouch(self, presented: Presented, reason: str, actor: str) -> Device:
        """The device, for whose user the caller vouches; the same message again, the same.

        Raises PaycoreError as `enrol` does, but for what concerns the PIN.
        """
        challenge = self._recognize(presented)
        added = None
        if await self._store.find(presented.as_new(actor).device_id) is None:
            added = await self._store.add_vouched(presented.as_new(actor), challenge)
        device = await self._added(presented, added)
        if added is Added.ADDED:
            event = Event.DEVICE_VOUCHED_FOR
            record(SecurityEvent(event, presented.user_id, device.device_id, reason, actor))
        return device

    async def in_force(self, user_id: str) -> list[DeviceInForce]:
        """The devices of `user_id` that authorize, the oldest first: MAX_DEVICES at most. Raises
        PaycoreError DATABASE_UNAVAILABLE, CONTENTION."""
        return await self._store.in_force(user_id)

    async def revoke(self, user_id: str, device_id: str, reason: str, actor: str) -> int:
        """When the device was revoked, in microseconds since 1970: from then on it authorizes
        nothing. Raises PaycoreError DEVICE_NOT_FOUND, DATABASE_UNAVAILABLE, CONTENTION."""
        revoked_at_us = await self._store.revoke(device_id, user_id)
        if revoked_at_us is None:
            raise PaycoreError(
                Reason.DEVICE_NOT_FOUND, "the user has no such device", {"id": device_id}
            )
        record(SecurityEvent(Event.DEVICE_REVOKED, user_id, device_id, reason, actor))
        return revoked_at_us

    async def _enrol(
        self, presented: Presented, sealed: SealedPin, actor: str, deadline_s: float
    ) -> Device:
        challenge = self._recognize(presented)
        added = None

        async def prepare(_: int) -> Earn:
            async def earn(connection: asyncpg.Connection) -> None:
                nonlocal added
                added = await self._store.add(connection, presented.as_new(None), challenge)

            return earn

        proof = PinProof(presented.user_id, sealed, presented.digest, challenge.expires_at_us)
        await self._checker.require(proof, prepare, deadline_s)
        device = await self._added(presented, added)
        if added is Added.ADDED:
            event = Event.DEVICE_ENROLLED
            record(SecurityEvent(event, presented.user_id, device.device_id, actor=actor))
        return device

    def _recognize(self, presented: Presented) -> Challenge:
        challenge = self._challenges.recognize(presented.user_id, presented.challenge)
        if not presented.is_possessed():
            raise _invalid("the signature over the enrolment is not the key's")
        return challenge

    async def _added(self, presented: Presented, added: Added | None) -> Device:
        if added is Added.TOO_MANY:
            raise PaycoreError(
                Reason.TOO_MANY_DEVICES,
                "the user has as many devices as there may be: revoke one",
                {"limit": str(MAX_DEVICES)},
            )
        if added is Added.KNOWN_KEY:
            raise _invalid("the user has or had this key under another id")
        device = await self._store.find(presented.as_new(None).device_id)
        if device is None:
            raise invalid_challenge("it was used")
        if device.revoked_at_us is not None:
            raise _invalid("the device was revoked")
        return device


def _invalid(why: str) -> PaycoreError:
    return PaycoreError(Reason.AUTHORIZATION_INVALID, "the key is not valid", {"why": why})

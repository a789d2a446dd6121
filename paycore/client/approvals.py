"""PINs, devices and approvals of payments: methods of the client for an event loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from typing import TypeVar

from paycore.client import model, signing_calls
from paycore.client.calls import Call
from paycore.client.core import Core, Order
from paycore.client.devices import Challenge, DeviceKey, EnrolledDevice, ListedDevice
from paycore.client.errors import AuthorizationInvalidError
from paycore.client.sealing import SealingKey
from paycore.domain.pin import Pin, SealedPin

Answer = TypeVar("Answer")


class Approvals(ABC):
    """Part of `PaycoreClient`.

    PINs leave this process only sealed to the signing service's key. `reason` is for the audit: 1
    to 256 printable characters, no personal data.
    """

    _core: Core

    @abstractmethod
    async def _run(self, call: Call[Answer]) -> Answer:
        """Send `call` until it has an answer that lasts."""

    async def public_keys(self) -> tuple[model.PublicKey, ...]:
        """The signing service's keys, to seal to and to verify with."""
        return await self._run(signing_calls.public_keys())

    async def seal_pin(self, order: Order, pin: Pin) -> model.StepUpProof:
        """The payer's approval of `order`, good for two minutes.

        `order` must have its idempotency key and name accounts by id, since the approval is bound
        to them (ValueError).
        """
        return self._core.proof(await self._sealing_key(), order, pin)

    async def enroll_pin(self, user: str, pin: Pin) -> datetime:
        """Set the first PIN of `user`, or the first after a reset; returns when that was.

        Raises PinTooWeakError, PinAlreadyEnrolledError.
        """
        sealing = await self._sealing_key()
        return await self._run_sealed(
            signing_calls.enroll_pin(user, sealing.for_enrolment(pin, user))
        )

    async def change_pin(self, user: str, old: Pin, new: Pin) -> datetime:
        """Replace `old` by `new`; returns when that was.

        `old` is counted as an attempt. Raises PinIncorrectError, PinLockedError, PinTooWeakError.
        """
        sealing = await self._sealing_key()
        challenge = (await self.create_challenge(user)).value
        return await self._run_sealed(
            signing_calls.change_pin(
                user, challenge, *sealing.for_change(old, new, user, challenge)
            )
        )

    async def reset_pin(
        self, user: str, reason: str, *, keep_devices: bool = False
    ) -> tuple[str, ...]:
        """Take the PIN of `user`, if there is one, out of force: another can then be enrolled.

        With it go the devices, whose ids are returned, unless the user has shown to have them. For
        callers that have identified the user, and are granted to.
        """
        return await self._run(signing_calls.reset_pin(user, reason, keep_devices=keep_devices))

    async def unlock_pin(self, user: str, reason: str) -> None:
        """End the lock of `user`, if there is one.

        For callers that have identified the user, and are granted to.
        """
        await self._run(signing_calls.unlock_pin(user, reason))

    async def create_challenge(self, user: str) -> Challenge:
        """What a key of a device of `user` is to be enrolled with, once."""
        return await self._run(signing_calls.create_challenge(user))

    async def enroll_device(
        self, user: str, challenge: bytes, key: DeviceKey, pin: Pin | SealedPin
    ) -> EnrolledDevice:
        """Enrol a key of a device of `user`, who approves it with the PIN.

        `challenge` is the value of one from `create_challenge`, which `key` has signed. A PIN that
        was sealed on the device (`SealingKey.for_device`) is passed on as it is. It is counted as
        an attempt. Raises PinIncorrectError, PinLockedError, TooManyDevicesError.
        """
        if isinstance(pin, Pin):
            sealing = await self._sealing_key()
            pin = sealing.for_device(pin, user, challenge, key.algorithm, key.public_key)
        return await self._run_sealed(signing_calls.enroll_device(user, challenge, key, pin))

    async def vouch_for_device(
        self, user: str, challenge: bytes, key: DeviceKey, reason: str
    ) -> EnrolledDevice:
        """Enrol a key of a device of `user` on the caller's word; `challenge` as in
        `enroll_device`.

        For callers that have identified the user, and are granted to. Raises TooManyDevicesError.
        """
        return await self._run(signing_calls.vouch_for_device(user, challenge, key, reason))

    async def list_devices(self, user: str) -> tuple[ListedDevice, ...]:
        """The devices of `user` whose keys are in force, the oldest first."""
        return await self._run(signing_calls.list_devices(user))

    async def revoke_device(self, user: str, device: str, reason: str) -> datetime:
        """Take a device's key out of force for ever; returns when that was, now or earlier.

        Raises DeviceNotFoundError.
        """
        return await self._run(signing_calls.revoke_device(user, device, reason))

    async def _run_sealed(self, call: Call[Answer]) -> Answer:
        try:
            return await self._run(call)
        except AuthorizationInvalidError:
            # An outdated sealing key would explain it.
            self._core.forget_sealing_key()
            raise

    async def _sealing_key(self) -> SealingKey:
        known = self._core.known_sealing_key()
        return known or self._core.keep_sealing_key(await self.public_keys())

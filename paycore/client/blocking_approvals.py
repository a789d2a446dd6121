"""PINs, devices and approvals of payments: methods of the blocking client."""

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


class BlockingApprovals(ABC):
    """Part of `BlockingPaycoreClient`.

    PINs leave this process only sealed to the signing service's key. `reason` is for the audit: 1
    to 256 printable characters, no personal data.
    """

    _core: Core

    @abstractmethod
    def _run(self, call: Call[Answer]) -> Answer:
        """Send `call` until it has an answer that lasts."""

    def public_keys(self) -> tuple[model.PublicKey, ...]:
        """The signing service's keys, to seal to and to verify with."""
        return self._run(signing_calls.public_keys())

    def seal_pin(self, order: Order, pin: Pin) -> model.StepUpProof:
        """The payer's approval of `order`, good for two minutes.

        `order` must have its idempotency key and name accounts by id, since the approval is bound
        to them (ValueError).
        """
        return self._core.proof(self._sealing_key(), order, pin)

    def enroll_pin(self, user: str, pin: Pin) -> datetime:
        """Set the first PIN of `user`, or the first after a reset; returns when that was.

        Raises PinTooWeakError, PinAlreadyEnrolledError.
        """
        sealing = self._sealing_key()
        return self._run_sealed(signing_calls.enroll_pin(user, sealing.for_enrolment(pin, user)))

    def change_pin(self, user: str, old: Pin, new: Pin) -> datetime:
        """Replace `old` by `new`; returns when that was.

        `old` is counted as an attempt. Raises PinIncorrectError, PinLockedError, PinTooWeakError.
        """
        sealing = self._sealing_key()
        challenge = self.create_challenge(user).value
        return self._run_sealed(
            signing_calls.change_pin(
                user, challenge, *sealing.for_change(old, new, user, challenge)
            )
        )

    def reset_pin(self, user: str, reason: str, *, keep_devices: bool = False) -> tuple[str, ...]:
        """Take the PIN of `user`, if there is one, out of force: another can then be enrolled.

        With it go the devices, whose ids are returned, unless the user has shown to have them. For
        callers that have identified the user, and are granted to.
        """
        return self._run(signing_calls.reset_pin(user, reason, keep_devices=keep_devices))

    def unlock_pin(self, user: str, reason: str) -> None:
        """End the lock of `user`, if there is one.

        For callers that have identified the user, and are granted to.
        """
        self._run(signing_calls.unlock_pin(user, reason))

    def create_challenge(self, user: str) -> Challenge:
        """What a key of a device of `user` is to be enrolled with, once."""
        return self._run(signing_calls.create_challenge(user))

    def enroll_device(
        self, user: str, challenge: bytes, key: DeviceKey, pin: Pin | SealedPin
    ) -> EnrolledDevice:
        """Enrol a key of a device of `user`, who approves it with the PIN.

        `challenge` is the value of one from `create_challenge`, which `key` has signed. A PIN that
        was sealed on the device (`SealingKey.for_device`) is passed on as it is. It is counted as
        an attempt. Raises PinIncorrectError, PinLockedError, TooManyDevicesError.
        """
        if isinstance(pin, Pin):
            sealing = self._sealing_key()
            pin = sealing.for_device(pin, user, challenge, key.algorithm, key.public_key)
        return self._run_sealed(signing_calls.enroll_device(user, challenge, key, pin))

    def vouch_for_device(
        self, user: str, challenge: bytes, key: DeviceKey, reason: str
    ) -> EnrolledDevice:
        """Enrol a key of a device of `user` on the caller's word; `challenge` as in
        `enroll_device`.

        For callers that have identified the user, and are granted to. Raises TooManyDevicesError.
        """
        return self._run(signing_calls.vouch_for_device(user, challenge, key, reason))

    def list_devices(self, user: str) -> tuple[ListedDevice, ...]:
        """The devices of `user` whose keys are in force, the oldest first."""
        return self._run(signing_calls.list_devices(user))

    def revoke_device(self, user: str, device: str, reason: str) -> datetime:
        """Take a device's key out of force for ever; returns when that was, now or earlier.

        Raises DeviceNotFoundError.
        """
        return self._run(signing_calls.revoke_device(user, device, reason))

    def _run_sealed(self, call: Call[Answer]) -> Answer:
        try:
            return self._run(call)
        except AuthorizationInvalidError:
            # An outdated sealing key would explain it.
            self._core.forget_sealing_key()
            raise

    def _sealing_key(self) -> SealingKey:
        known = self._core.known_sealing_key()
        return known or self._core.keep_sealing_key(self.public_keys())

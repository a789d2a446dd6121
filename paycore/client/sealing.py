"""Seals PINs on the payer's device, so that only the signing service can read them."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from paycore.domain.device_key import DeviceAlgorithm
from paycore.domain.enrolment import (
    device_enrolment_digest,
    enrolment_binding,
    new_pin_binding,
    pin_change_digest,
)
from paycore.domain.pin import Pin, SealedPin, pin_plaintext
from paycore.domain.step_up import GroupIntent, PaymentIntent, group_digest, payment_digest
from paycore.runtime.hpke import SUITE


class SealingKey:
    """The signing service's current key of purpose SEALING, from GetPublicKeys."""

    def __init__(self, key_id: str, public_key: bytes) -> None:
        """Raises ValueError when `public_key` is not a raw X25519 key of 32 bytes."""
        self._key_id = key_id
        self._public_key = X25519PublicKey.from_public_bytes(public_key)

    def for_payment(self, pin: Pin, intent: PaymentIntent) -> SealedPin:
        """`pin` as the approval of exactly `intent`. Raises ValueError as `payment_digest` does."""
        return self._seal(pin, payment_digest(intent))

    def for_enrolment(self, pin: Pin, user_id: str) -> SealedPin:
        """`pin` as the first PIN of `user_id`. Raises ValueError as `enrolment_binding` does."""
        return self._seal(pin, enrolment_binding(user_id))

    def for_group(self, pin: Pin, intent: GroupIntent) -> SealedPin:
        """`pin` as a payer's approval of their part of a group. Raises ValueError as
        `group_digest` does."""
        return self._seal(pin, group_digest(intent))

    def for_change(
        self, old: Pin, new: Pin, user_id: str, challenge: bytes
    ) -> tuple[SealedPin, SealedPin]:
        """`old` and `new`, sealed so that the one approves exactly the other."""
        sealed = self._seal(new, new_pin_binding(user_id, challenge))
        return self._seal(old, pin_change_digest(user_id, challenge, sealed)), sealed

    def for_device(
        self,
        pin: Pin,
        user_id: str,
        challenge: bytes,
        algorithm: DeviceAlgorithm,
        public_key: bytes,
    ) -> SealedPin:
        """`pin` as the approval of exactly this key of a device."""
        digest = device_enrolment_digest(user_id, challenge, algorithm, public_key)
        return self._seal(pin, digest)

    def _seal(self, pin: Pin, info: bytes) -> SealedPin:
        return SealedPin(
            self._key_id, SUITE.encrypt(pin_plaintext(pin), self._public_key, info=info)
        )

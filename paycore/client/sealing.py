"""Seals PINs on the payer's device, so that only the signing service can read them."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from paycore.domain.pin import Pin, SealedPin, pin_plaintext
from paycore.domain.enrolment import enrolment_binding
from paycore.domain.step_up import PaymentIntent, payment_digest
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

    def _seal(self, pin: Pin, info: bytes) -> SealedPin:
        return SealedPin(
            self._key_id, SUITE.encrypt(pin_plaintext(pin), self._public_key, info=info)
        )

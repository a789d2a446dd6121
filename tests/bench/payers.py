"""Users with a PIN and a device of their own, enrolled as any caller would do it."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.timestamp_pb2 import Timestamp

from paycore.client.sealing import SealingKey
from paycore.domain.device_key import DeviceAlgorithm
from paycore.domain.enrolment import device_enrolment_digest
from paycore.domain.pin import Pin
from paycore.domain.step_up import PaymentIntent, payment_digest
from paycore.signing.v1 import signing_service_pb2 as pb
from paycore.v1 import step_up_pb2

PIN = Pin("739164")
TIMEOUT_S = 30


class Payer:
    """One user. What it proves is made here, as on the user's own device: before the clock runs."""

    def __init__(self, user: str) -> None:
        self.user = user
        self._key = Ed25519PrivateKey.generate()
        self._device_id = ""

    async def enrol(self, stub: Any, sealing: SealingKey) -> None:
        """Set the PIN and enrol the device, by `stub` of SigningService."""
        sealed = sealing.for_enrolment(PIN, self.user)
        await stub.EnrollPin(
            pb.EnrollPinRequest(
                user_id=self.user, sealed_pin=step_up_pb2.SealedPin(**sealed._asdict())
            ),
            timeout=TIMEOUT_S,
        )
        reply = await stub.CreateChallenge(
            pb.CreateChallengeRequest(user_id=self.user), timeout=TIMEOUT_S
        )
        public_key = self._key.public_key().public_bytes_raw()
        about = (self.user, reply.challenge, DeviceAlgorithm.ED25519, public_key)
        sealed = sealing.for_device(PIN, *about)
        enrolled = await stub.EnrollDevice(
            pb.EnrollDeviceRequest(
                user_id=self.user,
                challenge=reply.challenge,
                key=pb.DeviceKey(
                    algorithm=pb.DEVICE_ALGORITHM_ED25519,
                    public_key=public_key,
                    signature=self._key.sign(device_enrolment_digest(*about)),
                ),
                sealed_pin=step_up_pb2.SealedPin(**sealed._asdict()),
            ),
            timeout=TIMEOUT_S,
        )
        self._device_id = enrolled.device_id

    def by_device(self, intent: PaymentIntent) -> step_up_pb2.StepUp:
        """The device's signature of `intent`."""
        return step_up_pb2.StepUp(
            sign_time=_signed_at(intent),
            device_signature=step_up_pb2.DeviceSignature(
                device_id=self._device_id, signature=self._key.sign(payment_digest(intent))
            ),
        )

    def by_pin(self, intent: PaymentIntent, sealing: SealingKey) -> step_up_pb2.StepUp:
        """The PIN, sealed to `intent`."""
        sealed = sealing.for_payment(PIN, intent)
        return step_up_pb2.StepUp(
            sign_time=_signed_at(intent), sealed_pin=step_up_pb2.SealedPin(**sealed._asdict())
        )


async def current_sealing_key(stub: Any) -> SealingKey:
    """The key to seal PINs to, from `stub` of SigningService."""
    reply = await stub.GetPublicKeys(pb.GetPublicKeysRequest(), timeout=TIMEOUT_S)
    key = next(key for key in reply.keys if key.purpose == pb.KEY_PURPOSE_SEALING and key.current)
    return SealingKey(key.key_id, key.public_key)


def _signed_at(intent: PaymentIntent) -> Timestamp:
    time = Timestamp()
    time.FromMicroseconds(intent.signed_at_us)
    return time

"""Devices of payers, with keys of their own."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from paycore.domain.device_key import DeviceAlgorithm, DeviceSignature
from paycore.domain.enrolment import device_enrolment_digest
from paycore.domain.pin import Pin
from paycore.domain.step_up import Intent, intent_digest
from signing_service.authorizer import Question
from signing_service.device_keeper import Presented
from tests.integration.signing.signer import PIN, Signer


@dataclass
class TestDevice:
    """One device: a key, and once it is enrolled its id."""

    algorithm: DeviceAlgorithm
    key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey
    device_id: str = field(default="0" * 32)

    __test__ = False

    @classmethod
    def new(cls, algorithm: DeviceAlgorithm = DeviceAlgorithm.ED25519) -> TestDevice:
        if algorithm is DeviceAlgorithm.ED25519:
            return cls(algorithm, Ed25519PrivateKey.generate())
        return cls(algorithm, ec.generate_private_key(ec.SECP256R1()))

    @property
    def public_key(self) -> bytes:
        match self.key:
            case Ed25519PrivateKey():
                return self.key.public_key().public_bytes_raw()
            case ec.EllipticCurvePrivateKey():
                return self.key.public_key().public_bytes(
                    serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
                )

    def sign(self, digest: bytes) -> bytes:
        match self.key:
            case Ed25519PrivateKey():
                return self.key.sign(digest)
            case ec.EllipticCurvePrivateKey():
                return self.key.sign(digest, ec.ECDSA(hashes.SHA256()))

    def enrolment_signature(self, user_id: str, challenge: bytes) -> bytes:
        return self.sign(
            device_enrolment_digest(user_id, challenge, self.algorithm, self.public_key)
        )

    def presented(self, user_id: str, challenge: bytes) -> Presented:
        signature = self.enrolment_signature(user_id, challenge)
        return Presented(user_id, challenge, self.algorithm, self.public_key, signature)

    async def enrol(self, signer: Signer, user_id: str, pin: Pin = PIN) -> TestDevice:
        """Enrol with a challenge of its own."""
        challenge = signer.parts.pins.challenge(user_id).value
        sealed = signer.sealing().for_device(
            pin, user_id, challenge, self.algorithm, self.public_key
        )
        device = await signer.devices.enrol(
            self.presented(user_id, challenge), sealed, "app", signer.clock.monotonic_s() + 20
        )
        self.device_id = device.device_id
        return self

    def approve(self, user_id: str, intent: Intent) -> Question:
        signature = self.sign(intent_digest(intent))
        return Question(user_id, intent, DeviceSignature(self.device_id, signature))

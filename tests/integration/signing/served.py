"""Asking a signing process as its callers do."""

from __future__ import annotations

import time
from collections.abc import Callable

import grpc
import pytest

from command_service.admission.signer import SignerClient
from paycore.client.sealing import SealingKey
from paycore.domain.device_key import DeviceAlgorithm
from paycore.domain.errors import PaycoreError
from paycore.domain.pin import Pin, SealedPin
from paycore.domain.step_up import PaymentIntent
from paycore.signing.v1 import signing_service_pb2 as pb
from paycore.signing.v1 import signing_service_pb2_grpc as pb_grpc
from paycore.v1 import step_up_pb2
from tests.integration.signing.device import TestDevice
from tests.integration.signing.signer import PIN, payment

Connect = Callable[[str], grpc.aio.Channel]


def in_time(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


async def enrol(channel: grpc.aio.Channel, sealing: SealingKey, user_id: str, pin: Pin) -> None:
    sealed = sealing.for_enrolment(pin, user_id)
    await pb_grpc.SigningServiceStub(channel).EnrollPin(
        pb.EnrollPinRequest(user_id=user_id, sealed_pin=step_up_pb2.SealedPin(**sealed._asdict())),
        timeout=10,
    )


async def enrolled_device(
    channel: grpc.aio.Channel,
    sealing: SealingKey,
    user_id: str,
    algorithm: DeviceAlgorithm = DeviceAlgorithm.ED25519,
) -> TestDevice:
    """A device of `user_id`, whose PIN is PIN."""
    stub = pb_grpc.SigningServiceStub(channel)
    challenge = (
        await stub.CreateChallenge(pb.CreateChallengeRequest(user_id=user_id), timeout=10)
    ).challenge
    device = TestDevice.new(algorithm)
    sealed = sealing.for_device(PIN, user_id, challenge, algorithm, device.public_key)
    enrolled = await stub.EnrollDevice(
        pb.EnrollDeviceRequest(
            user_id=user_id,
            challenge=challenge,
            key=pb.DeviceKey(
                algorithm=pb.DeviceAlgorithm.Value(f"DEVICE_ALGORITHM_{algorithm.value}"),
                public_key=device.public_key,
                signature=device.enrolment_signature(user_id, challenge),
            ),
            sealed_pin=step_up_pb2.SealedPin(**sealed._asdict()),
        ),
        timeout=10,
    )
    device.device_id = enrolled.device_id
    return device


async def refusal(
    signer: SignerClient, intent: PaymentIntent, proof: SealedPin, seconds: float = 10.0
) -> PaycoreError:
    """The refusal of a question about `user-1`; fails when it is authorized."""
    with pytest.raises(PaycoreError) as raised:
        await signer.authorize("user-1", intent, proof, in_time(seconds))
    return raised.value


async def refusal_of(
    signer: SignerClient, sealing: SealingKey, pin: Pin, seconds: float = 10.0
) -> PaycoreError:
    """The refusal of a new payment that is approved with `pin`."""
    intent = payment()
    return await refusal(signer, intent, sealing.for_payment(pin, intent), seconds)

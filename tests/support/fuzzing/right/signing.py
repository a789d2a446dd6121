"""Right requests of the signing service: PINs that are sealed, keys that sign."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from paycore.client.sealing import SealingKey
from paycore.domain.device_key import DeviceAlgorithm
from paycore.domain.enrolment import device_enrolment_digest
from paycore.domain.pin import Pin, SealedPin
from paycore.domain.step_up import PaymentIntent, payment_digest
from paycore.signing.v1 import data_key_service_pb2 as keys_pb
from paycore.signing.v1 import signing_service_pb2 as pb
from paycore.v1 import step_up_pb2, transfer_pb2
from tests.support.fuzzing.right.world import TIMEOUT_S, Device, Right, World

PIN = Pin("739164")
"""Everybody's, and it stays so when it is changed."""


def _sealed(pin: SealedPin) -> step_up_pb2.SealedPin:
    return step_up_pb2.SealedPin(**pin._asdict())


async def _challenge(world: World, user: str) -> bytes:
    asked = world.callers.of("app").signing
    reply = await asked.CreateChallenge(pb.CreateChallengeRequest(user_id=user), timeout=TIMEOUT_S)
    return bytes(reply.challenge)


async def enroll_pin(world: World, client: str) -> Any:
    user = world.new("user")
    return pb.EnrollPinRequest(
        user_id=user, sealed_pin=_sealed(world.sealing.for_enrolment(PIN, user))
    )


async def change_pin(world: World, client: str) -> Any:
    user = world.one_of(world.with_pin)
    challenge = await _challenge(world, user)
    old, new = world.sealing.for_change(PIN, PIN, user, challenge)
    return pb.ChangePinRequest(
        user_id=user, challenge=challenge, old_pin=_sealed(old), new_pin=_sealed(new)
    )


async def reset_pin(world: World, client: str) -> Any:
    return pb.ResetPinRequest(user_id=world.new("reset"), reason="forgotten")


async def unlock_pin(world: World, client: str) -> Any:
    return pb.UnlockPinRequest(user_id=world.one_of(world.with_pin), reason="called")


async def create_challenge(world: World, client: str) -> Any:
    return pb.CreateChallengeRequest(user_id=world.one_of(world.with_pin))


def _device_key(user: str, challenge: bytes, key: Ed25519PrivateKey) -> pb.DeviceKey:
    public = key.public_key().public_bytes_raw()
    digest = device_enrolment_digest(user, challenge, DeviceAlgorithm.ED25519, public)
    return pb.DeviceKey(
        algorithm=pb.DEVICE_ALGORITHM_ED25519, public_key=public, signature=key.sign(digest)
    )


async def enroll_device(world: World, client: str) -> Any:
    user = world.one_of(world.with_pin)
    challenge = await _challenge(world, user)
    key = _device_key(user, challenge, Ed25519PrivateKey.generate())
    sealed = world.sealing.for_device(PIN, user, challenge, DeviceAlgorithm.ED25519, key.public_key)
    return pb.EnrollDeviceRequest(
        user_id=user, challenge=challenge, key=key, sealed_pin=_sealed(sealed)
    )


async def vouch(world: World, client: str) -> Any:
    user = world.new("vouched")
    challenge = await _challenge(world, user)
    return pb.VouchForDeviceRequest(
        user_id=user,
        challenge=challenge,
        key=_device_key(user, challenge, Ed25519PrivateKey.generate()),
        reason="known",
    )


async def list_devices(world: World, client: str) -> Any:
    return pb.ListDevicesRequest(user_id=world.one_of(world.with_pin))


async def revoke(world: World, client: str) -> Any:
    user, device_id = world.devices.popleft()
    return pb.RevokeDeviceRequest(user_id=user, device_id=device_id, reason="lost")


async def authorize(world: World, client: str) -> Any:
    """By a device mostly; a PIN costs a hash."""
    rng = world.rng
    by_pin = rng.random() < 0.3
    user = world.one_of(world.with_pin) if by_pin else world.owner.user
    intent = PaymentIntent(
        "TRANSFER", 11, 12, 100, "EUR", "app", world.new("key"), time.time_ns() // 1_000
    )
    request = pb.AuthorizeRequest(user_id=user)
    request.payment.kind = transfer_pb2.TRANSFER_KIND_TRANSFER
    request.payment.debit_account_id, request.payment.credit_account_id = 11, 12
    request.payment.amount.minor_units, request.payment.amount.currency = 100, "EUR"
    request.payment.client, request.payment.idempotency_key = "app", intent.idempotency_key
    request.step_up.sign_time.FromMicroseconds(intent.signed_at_us)
    if by_pin:
        request.step_up.sealed_pin.CopyFrom(_sealed(world.sealing.for_payment(PIN, intent)))
    else:
        request.step_up.device_signature.device_id = world.owner.device_id
        request.step_up.device_signature.signature = world.owner.key.sign(payment_digest(intent))
    return request


async def authorize_stream(world: World, client: str) -> Any:
    asked = pb.AuthorizeStreamRequest()
    for number in range(1, 1 + world.rng.choice((1, 2, 5))):
        request = await authorize(world, client)
        asked.questions.add(number=number, request=request).timeout.seconds = 5
    return asked


async def get_public_keys(world: World, client: str) -> Any:
    return pb.GetPublicKeysRequest()


async def create_data_keys(world: World, client: str) -> Any:
    many = world.rng.choice((1, 2, 5))
    return keys_pb.CreateDataKeysRequest(subjects=[world.new("subject") for _ in range(many)])


async def unwrap_data_keys(world: World, client: str) -> Any:
    return keys_pb.UnwrapDataKeysRequest(key_ids=[world.one_of(world.data_keys)])


async def destroy_data_keys(world: World, client: str) -> Any:
    return keys_pb.DestroyDataKeysRequest(subject=world.new("subject"))


def _has_pin(world: World, _: str, request: Any, __: Any) -> None:
    world.with_pin.append(request.user_id)


def _has_device(world: World, _: str, request: Any, reply: Any) -> None:
    world.devices.append((request.user_id, reply.device_id))


def _has_keys(world: World, _: str, __: Any, reply: Any) -> None:
    world.data_keys.extend(key.key_id for key in reply.keys)


async def enrolled_owner(signing: Any, sealing: SealingKey) -> Device:
    """Somebody with a PIN and a device, by stub `signing`."""
    user = f"fuzz-owner-{secrets.token_hex(4)}"
    sealed = _sealed(sealing.for_enrolment(PIN, user))
    await signing.EnrollPin(pb.EnrollPinRequest(user_id=user, sealed_pin=sealed), timeout=TIMEOUT_S)
    asked = await signing.CreateChallenge(
        pb.CreateChallengeRequest(user_id=user), timeout=TIMEOUT_S
    )
    private = Ed25519PrivateKey.generate()
    key = _device_key(user, asked.challenge, private)
    sealed = _sealed(
        sealing.for_device(PIN, user, asked.challenge, DeviceAlgorithm.ED25519, key.public_key)
    )
    reply = await signing.EnrollDevice(
        pb.EnrollDeviceRequest(user_id=user, challenge=asked.challenge, key=key, sealed_pin=sealed),
        timeout=TIMEOUT_S,
    )
    return Device(user, reply.device_id, private)


SIGNING: Mapping[str, Right] = {
    "SigningService/EnrollPin": Right(enroll_pin, _has_pin),
    "SigningService/ChangePin": Right(change_pin),
    "SigningService/ResetPin": Right(reset_pin),
    "SigningService/UnlockPin": Right(unlock_pin),
    "SigningService/CreateChallenge": Right(create_challenge),
    "SigningService/EnrollDevice": Right(enroll_device, _has_device),
    "SigningService/VouchForDevice": Right(vouch, _has_device),
    "SigningService/ListDevices": Right(list_devices),
    "SigningService/RevokeDevice": Right(revoke),
    "SigningService/Authorize": Right(authorize),
    "SigningService/AuthorizeStream": Right(authorize_stream),
    "SigningService/GetPublicKeys": Right(get_public_keys),
    "DataKeyService/CreateDataKeys": Right(create_data_keys, _has_keys),
    "DataKeyService/UnwrapDataKeys": Right(unwrap_data_keys),
    "DataKeyService/DestroyDataKeys": Right(destroy_data_keys),
}

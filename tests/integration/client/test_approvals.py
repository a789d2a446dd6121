"""PINs and devices through the client: what is sealed is bound, and what is read is typed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from google.protobuf.timestamp_pb2 import Timestamp

from paycore.client import (
    Challenge,
    DeviceKey,
    EnrolledDevice,
    ListedDevice,
    PaycoreClient,
    Pin,
)
from paycore.client.errors import (
    AuthorizationInvalidError,
    DeviceNotFoundError,
    PinIncorrectError,
)
from paycore.client.sealing import SealingKey
from paycore.domain.device_key import DeviceAlgorithm
from paycore.domain.enrolment import (
    device_enrolment_digest,
    new_pin_binding,
    pin_change_digest,
)
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.pin import SealedPin, pin_of_plaintext
from paycore.runtime.hpke import SUITE
from paycore.signing.v1 import signing_service_pb2 as pb
from paycore.v1 import step_up_pb2
from tests.integration.client.scripted import Script

SECRET = X25519PrivateKey.generate()
DEVICE = Ed25519PrivateKey.generate()
PUBLIC_KEY = DEVICE.public_key().public_bytes_raw()
CHALLENGE = b"challenge of ada"
OLD, NEW = Pin("739154"), Pin("628043")
AT = datetime(2026, 9, 21, 13, 46, 40, tzinfo=UTC)
TIME = Timestamp(seconds=int(AT.timestamp()))
KEYS = pb.GetPublicKeysResponse(
    keys=[
        pb.PublicKey(
            key_id="seal-1",
            purpose=pb.KEY_PURPOSE_SEALING,
            public_key=SECRET.public_key().public_bytes_raw(),
            current=True,
        )
    ]
)
CHALLENGED = pb.CreateChallengeResponse(challenge=CHALLENGE, expire_time=TIME)
ENROLLED = pb.EnrollDeviceResponse(device_id="0f" * 16, enroll_time=TIME)


def opened(sealed: step_up_pb2.SealedPin, binding: bytes) -> Pin:
    assert sealed.key_id == "seal-1"
    return pin_of_plaintext(SUITE.decrypt(sealed.ciphertext, SECRET, info=binding))


def device_key() -> DeviceKey:
    digest = device_enrolment_digest("ada", CHALLENGE, DeviceAlgorithm.ED25519, PUBLIC_KEY)
    return DeviceKey(DeviceAlgorithm.ED25519, PUBLIC_KEY, DEVICE.sign(digest))


async def test_the_old_pin_approves_exactly_the_new_one(
    client: PaycoreClient, script: Script
) -> None:
    script.play(KEYS, CHALLENGED, pb.ChangePinResponse(change_time=TIME))
    assert await client.change_pin("ada", OLD, NEW) == AT
    request = script.requests[2]
    assert (request.user_id, request.challenge) == ("ada", CHALLENGE)
    assert opened(request.new_pin, new_pin_binding("ada", CHALLENGE)).reveal() == NEW.reveal()
    sealed = SealedPin(request.new_pin.key_id, request.new_pin.ciphertext)
    binding = pin_change_digest("ada", CHALLENGE, sealed)
    assert opened(request.old_pin, binding).reveal() == OLD.reveal()


async def test_the_same_change_is_sent_again(client: PaycoreClient, script: Script) -> None:
    away = PaycoreError(Reason.DATABASE_UNAVAILABLE, "away", retry_after_ms=1)
    script.play(KEYS, CHALLENGED, away, pb.ChangePinResponse(change_time=TIME))
    assert await client.change_pin("ada", OLD, NEW) == AT
    assert script.requests[2] == script.requests[3]


async def test_a_wrong_old_pin_says_what_is_left(client: PaycoreClient, script: Script) -> None:
    figures = {"attempts_left": "4"}
    script.play(KEYS, CHALLENGED, PaycoreError(Reason.PIN_INCORRECT, "wrong", figures))
    with pytest.raises(PinIncorrectError) as refused:
        await client.change_pin("ada", OLD, NEW)
    assert refused.value.metadata["attempts_left"] == "4"
    assert len(script.requests) == 3


async def test_a_challenge_is_read(client: PaycoreClient, script: Script) -> None:
    script.play(CHALLENGED)
    assert await client.create_challenge("ada") == Challenge(CHALLENGE, AT)
    assert script.requests == [pb.CreateChallengeRequest(user_id="ada")]


async def test_the_pin_approves_exactly_the_key_of_a_device(
    client: PaycoreClient, script: Script
) -> None:
    script.play(KEYS, ENROLLED)
    key = device_key()
    enrolled = await client.enroll_device("ada", CHALLENGE, key, OLD)
    assert enrolled == EnrolledDevice("0f" * 16, AT)
    request = script.requests[1]
    assert (request.user_id, request.challenge) == ("ada", CHALLENGE)
    assert request.key == pb.DeviceKey(
        algorithm=pb.DEVICE_ALGORITHM_ED25519, public_key=PUBLIC_KEY, signature=key.signature
    )
    binding = device_enrolment_digest("ada", CHALLENGE, DeviceAlgorithm.ED25519, PUBLIC_KEY)
    assert opened(request.sealed_pin, binding).reveal() == OLD.reveal()


async def test_a_pin_sealed_on_the_device_is_passed_on_as_it_is(
    client: PaycoreClient, script: Script
) -> None:
    script.play(ENROLLED)
    sealing = SealingKey("seal-1", SECRET.public_key().public_bytes_raw())
    sealed = sealing.for_device(OLD, "ada", CHALLENGE, DeviceAlgorithm.ED25519, PUBLIC_KEY)
    await client.enroll_device("ada", CHALLENGE, device_key(), sealed)
    [request] = script.requests
    assert SealedPin(request.sealed_pin.key_id, request.sealed_pin.ciphertext) == sealed


async def test_a_refused_enrolment_has_the_sealing_key_asked_for_again(
    client: PaycoreClient, script: Script
) -> None:
    old_key = PaycoreError(Reason.AUTHORIZATION_INVALID, "old key")
    script.play(KEYS, old_key, KEYS, ENROLLED)
    with pytest.raises(AuthorizationInvalidError):
        await client.enroll_device("ada", CHALLENGE, device_key(), OLD)
    await client.enroll_device("ada", CHALLENGE, device_key(), OLD)
    assert isinstance(script.requests[2], pb.GetPublicKeysRequest)


async def test_a_device_is_vouched_for_and_revoked_with_a_reason(
    client: PaycoreClient, script: Script
) -> None:
    script.play(
        pb.VouchForDeviceResponse(device_id="0f" * 16, enroll_time=TIME),
        pb.RevokeDeviceResponse(revoke_time=TIME),
    )
    key = device_key()
    vouched = await client.vouch_for_device("ada", CHALLENGE, key, "identified in branch 7")
    assert vouched == EnrolledDevice("0f" * 16, AT)
    assert await client.revoke_device("ada", vouched.device_id, "reported lost") == AT
    assert script.requests == [
        pb.VouchForDeviceRequest(
            user_id="ada",
            challenge=CHALLENGE,
            key=pb.DeviceKey(
                algorithm=pb.DEVICE_ALGORITHM_ED25519,
                public_key=PUBLIC_KEY,
                signature=key.signature,
            ),
            reason="identified in branch 7",
        ),
        pb.RevokeDeviceRequest(user_id="ada", device_id="0f" * 16, reason="reported lost"),
    ]


async def test_a_device_that_is_not_the_users_is_not_found(
    client: PaycoreClient, script: Script
) -> None:
    script.play(PaycoreError(Reason.DEVICE_NOT_FOUND, "no such device"))
    with pytest.raises(DeviceNotFoundError):
        await client.revoke_device("ada", "0f" * 16, "reported lost")


async def test_a_pin_is_reset_and_unlocked_with_a_reason(
    client: PaycoreClient, script: Script
) -> None:
    script.play(
        pb.ResetPinResponse(revoked_device_ids=["0f" * 16]),
        pb.ResetPinResponse(),
        pb.UnlockPinResponse(),
    )
    assert await client.reset_pin("ada", "identified in branch 7") == ("0f" * 16,)
    assert await client.reset_pin("ada", "here with the phone", keep_devices=True) == ()
    await client.unlock_pin("ada", "identified by phone")
    assert script.requests == [
        pb.ResetPinRequest(user_id="ada", reason="identified in branch 7"),
        pb.ResetPinRequest(user_id="ada", reason="here with the phone", keep_devices=True),
        pb.UnlockPinRequest(user_id="ada", reason="identified by phone"),
    ]


async def test_the_devices_in_force_are_listed(client: PaycoreClient, script: Script) -> None:
    device = pb.Device(device_id="0f" * 16, algorithm=pb.DEVICE_ALGORITHM_ED25519, enroll_time=TIME)
    script.play(pb.ListDevicesResponse(devices=[device]))
    listed = ListedDevice("0f" * 16, DeviceAlgorithm.ED25519, AT, "")
    assert await client.list_devices("ada") == (listed,)
    assert script.requests == [pb.ListDevicesRequest(user_id="ada")]

"""Calls to the signing service as values, like those of `calls`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from paycore.client import model, replies, requests, rpcs
from paycore.client.calls import Call
from paycore.client.devices import Challenge, DeviceKey, EnrolledDevice, ListedDevice
from paycore.client.retries import Patience
from paycore.domain.device_key import DeviceAlgorithm
from paycore.domain.pin import SealedPin
from paycore.signing.v1 import signing_service_pb2 as pb

_ALGORITHMS = {
    DeviceAlgorithm.ED25519: pb.DEVICE_ALGORITHM_ED25519,
    DeviceAlgorithm.P256: pb.DEVICE_ALGORITHM_P256,
}


_ALGORITHM_OF = {number: algorithm for algorithm, number in _ALGORITHMS.items()}


def public_keys() -> Call[tuple[model.PublicKey, ...]]:
    return Call(rpcs.GET_PUBLIC_KEYS, pb.GetPublicKeysRequest(), replies.public_keys)


def enroll_pin(user: str, sealed: SealedPin) -> Call[datetime]:
    return Call(
        rpcs.ENROLL_PIN,
        pb.EnrollPinRequest(user_id=user, sealed_pin=requests.sealed_pin(sealed)),
        lambda reply: replies.instant(reply.enroll_time),
        Patience.STEP_UP,
    )


def change_pin(user: str, challenge: bytes, old: SealedPin, new: SealedPin) -> Call[datetime]:
    return Call(
        rpcs.CHANGE_PIN,
        pb.ChangePinRequest(
            user_id=user,
            challenge=challenge,
            old_pin=requests.sealed_pin(old),
            new_pin=requests.sealed_pin(new),
        ),
        lambda reply: replies.instant(reply.change_time),
        Patience.STEP_UP,
    )


def reset_pin(user: str, reason: str, *, keep_devices: bool) -> Call[tuple[str, ...]]:
    return Call(
        rpcs.RESET_PIN,
        pb.ResetPinRequest(user_id=user, reason=reason, keep_devices=keep_devices),
        lambda reply: tuple(reply.revoked_device_ids),
    )


def unlock_pin(user: str, reason: str) -> Call[None]:
    return Call(rpcs.UNLOCK_PIN, pb.UnlockPinRequest(user_id=user, reason=reason), _nothing)


def create_challenge(user: str) -> Call[Challenge]:
    return Call(
        rpcs.CREATE_CHALLENGE,
        pb.CreateChallengeRequest(user_id=user),
        lambda reply: Challenge(reply.challenge, replies.instant(reply.expire_time)),
    )


def enroll_device(
    user: str, challenge: bytes, key: DeviceKey, sealed: SealedPin
) -> Call[EnrolledDevice]:
    return Call(
        rpcs.ENROLL_DEVICE,
        pb.EnrollDeviceRequest(
            user_id=user,
            challenge=challenge,
            key=_device_key(key),
            sealed_pin=requests.sealed_pin(sealed),
        ),
        _enrolled,
        Patience.STEP_UP,
    )


def vouch_for_device(
    user: str, challenge: bytes, key: DeviceKey, reason: str
) -> Call[EnrolledDevice]:
    return Call(
        rpcs.VOUCH_FOR_DEVICE,
        pb.VouchForDeviceRequest(
            user_id=user, challenge=challenge, key=_device_key(key), reason=reason
        ),
        _enrolled,
    )


def list_devices(user: str) -> Call[tuple[ListedDevice, ...]]:
    return Call(rpcs.LIST_DEVICES, pb.ListDevicesRequest(user_id=user), _listed)


def revoke_device(user: str, device: str, reason: str) -> Call[datetime]:
    return Call(
        rpcs.REVOKE_DEVICE,
        pb.RevokeDeviceRequest(user_id=user, device_id=device, reason=reason),
        lambda reply: replies.instant(reply.revoke_time),
    )


def _device_key(key: DeviceKey) -> pb.DeviceKey:
    return pb.DeviceKey(
        algorithm=_ALGORITHMS[key.algorithm], public_key=key.public_key, signature=key.signature
    )


def _enrolled(reply: pb.EnrollDeviceResponse | pb.VouchForDeviceResponse) -> EnrolledDevice:
    return EnrolledDevice(reply.device_id, replies.instant(reply.enroll_time))


def _listed(reply: pb.ListDevicesResponse) -> tuple[ListedDevice, ...]:
    return tuple(
        ListedDevice(
            one.device_id,
            _ALGORITHM_OF[one.algorithm],
            replies.instant(one.enroll_time),
            one.vouched_by,
        )
        for one in reply.devices
    )


def _nothing(_: Any) -> None:
    """Of a reply without fields."""

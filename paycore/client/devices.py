"""Keys of payers' devices, as callers hand them over and get them back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from paycore.domain.device_key import DeviceAlgorithm


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a key of a device is enrolled with: good for one enrolment of one user."""

    value: bytes
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """A public key of a device, with the proof that the device has the private one.

    `signature` is made by the key over `paycore.domain.enrolment.device_enrolment_digest` of user,
    challenge, algorithm and public key.
    """

    algorithm: DeviceAlgorithm
    public_key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class ListedDevice:
    """A device whose key is in force. `vouched_by` is the client that vouched for the user, empty
    where the user's PIN approved it."""

    device_id: str
    algorithm: DeviceAlgorithm
    enrolled_at: datetime
    vouched_by: str


@dataclass(frozen=True, slots=True)
class EnrolledDevice:
    """A device whose key is in force. A DeviceSignature names it by `device_id`."""

    device_id: str
    enrolled_at: datetime

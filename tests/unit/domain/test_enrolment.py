"""What the setting of a PIN or a device key is bound to, against examples in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from paycore.domain.device_key import DeviceAlgorithm
from paycore.domain.enrolment import (
    device_enrolment_digest,
    enrolment_binding,
    new_pin_binding,
    pin_change_digest,
)
from paycore.domain.pin import SealedPin

VECTORS: dict[str, Any] = json.loads(
    Path(__file__).with_name("step_up_vectors.json").read_text(encoding="utf-8")
)
CHALLENGE = bytes(64)
NEW = SealedPin("sealing-1", bytes(64))


@pytest.mark.parametrize("entry", VECTORS["pin_changes"], ids=lambda entry: entry["name"])
def test_a_change_has_its_bindings(entry: dict[str, Any]) -> None:
    user, challenge = entry["user_id"], bytes.fromhex(entry["challenge"])
    new = SealedPin(entry["key_id"], bytes.fromhex(entry["ciphertext"]))
    assert new_pin_binding(user, challenge).hex() == entry["new_pin_binding"]
    assert pin_change_digest(user, challenge, new).hex() == entry["digest"]


@pytest.mark.parametrize("entry", VECTORS["device_enrolments"], ids=lambda entry: entry["name"])
def test_a_devices_enrolment_has_its_digest(entry: dict[str, Any]) -> None:
    assert (
        device_enrolment_digest(
            entry["user_id"],
            bytes.fromhex(entry["challenge"]),
            DeviceAlgorithm(entry["algorithm"]),
            bytes.fromhex(entry["public_key"]),
        ).hex()
        == entry["digest"]
    )


def test_no_part_of_what_is_approved_can_be_exchanged() -> None:
    key = bytes(32)
    bindings = [
        enrolment_binding("u"),
        new_pin_binding("u", CHALLENGE),
        new_pin_binding("v", CHALLENGE),
        new_pin_binding("u", CHALLENGE[1:]),
        pin_change_digest("u", CHALLENGE, NEW),
        pin_change_digest("v", CHALLENGE, NEW),
        pin_change_digest("u", CHALLENGE[1:], NEW),
        pin_change_digest("u", CHALLENGE, NEW._replace(key_id="sealing-2")),
        pin_change_digest("u", CHALLENGE, NEW._replace(ciphertext=bytes(63))),
        device_enrolment_digest("u", CHALLENGE, DeviceAlgorithm.ED25519, key),
        device_enrolment_digest("v", CHALLENGE, DeviceAlgorithm.ED25519, key),
        device_enrolment_digest("u", CHALLENGE[1:], DeviceAlgorithm.ED25519, key),
        device_enrolment_digest("u", CHALLENGE, DeviceAlgorithm.P256, key),
        device_enrolment_digest("u", CHALLENGE, DeviceAlgorithm.ED25519, key[1:]),
    ]
    assert len(set(bindings)) == len(bindings)

"""A device's signature counts only in its algorithm's one encoding, over exactly its digest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from paycore.domain.device_key import (
    MAX_PUBLIC_KEY_BYTES,
    MAX_SIGNATURE_BYTES,
    DeviceAlgorithm,
)
from signing_service.device_keys import DeviceKey

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "domain" / "step_up_vectors.json").read_text(encoding="utf-8")
)
ED25519 = bytes.fromhex(VECTORS["device_signatures"][0]["public_key"])
P256 = bytes.fromhex(VECTORS["device_signatures"][1]["public_key"])


def named(section: str) -> list[Any]:
    entries = VECTORS[section]
    assert entries
    return [pytest.param(entry, id=entry["name"]) for entry in entries]


def verifies(entry: dict[str, Any]) -> bool:
    key = DeviceKey(DeviceAlgorithm(entry["algorithm"]), bytes.fromhex(entry["public_key"]))
    return key.signed(bytes.fromhex(entry["signature"]), bytes.fromhex(entry["digest"]))


@pytest.mark.parametrize("entry", named("device_signatures"))
def test_a_devices_signature_verifies(entry: dict[str, Any]) -> None:
    assert verifies(entry)
    assert len(bytes.fromhex(entry["public_key"])) <= MAX_PUBLIC_KEY_BYTES
    assert len(bytes.fromhex(entry["signature"])) <= MAX_SIGNATURE_BYTES


@pytest.mark.parametrize("entry", named("device_signatures_that_do_not_verify"))
def test_anything_else_does_not(entry: dict[str, Any]) -> None:
    assert not verifies(entry)


@pytest.mark.parametrize(
    "public_key",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(ED25519[:-1], id="cut"),
        pytest.param(ED25519 + b"\0", id="too long"),
        pytest.param(P256, id="of the other algorithm"),
        pytest.param(bytes(32), id="of order 4"),
        pytest.param(b"\1" + bytes(31), id="the neutral point"),
        pytest.param(b"\1" + bytes(30) + b"\x80", id="the neutral point, another encoding"),
        pytest.param(b"\xee" + b"\xff" * 30 + b"\x7f", id="the neutral point, not reduced"),
    ],
)
def test_what_is_no_ed25519_key_is_refused(public_key: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        DeviceKey(DeviceAlgorithm.ED25519, public_key)


@pytest.mark.parametrize(
    "public_key",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\0", id="the point at infinity"),
        pytest.param(P256[:-1], id="cut"),
        pytest.param(P256 + b"\0", id="too long"),
        pytest.param(ED25519, id="of the other algorithm"),
        pytest.param(bytes([2 + (P256[-1] & 1)]) + P256[1:33], id="compressed"),
        pytest.param(b"\4" + bytes(64), id="not on the curve"),
        pytest.param(P256[:-1] + bytes([P256[-1] ^ 1]), id="beside the curve"),
    ],
)
def test_what_is_no_p256_key_is_refused(public_key: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        DeviceKey(DeviceAlgorithm.P256, public_key)

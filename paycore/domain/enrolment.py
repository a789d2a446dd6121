"""What a user approves when a PIN or a device key is set, and what the approval is bound to.

Each binding names all that it approves, so that whoever carries the message can neither use a part
of it elsewhere nor put something else in a part's place.
"""

from __future__ import annotations

import hashlib

from paycore.domain.canonical import prefixed, text
from paycore.domain.device_key import DeviceAlgorithm
from paycore.domain.pin import SealedPin

PIN_ENROLMENT_ENCODING = "paycore.enrolment.v1"
NEW_PIN_ENCODING = "paycore.pin_change.new.v1"
PIN_CHANGE_ENCODING = "paycore.pin_change.v1"
DEVICE_ENROLMENT_ENCODING = "paycore.device_enrolment.v1"


def enrolment_binding(user_id: str) -> bytes:
    """What a first PIN is bound to: the HPKE info with which it is sealed.

    SHA-256 of: text "paycore.enrolment.v1", text user id. Raises ValueError when the id is longer
    than 65,535 bytes.
    """
    return hashlib.sha256(text(PIN_ENROLMENT_ENCODING) + text(user_id)).digest()


def new_pin_binding(user_id: str, challenge: bytes) -> bytes:
    """What the new PIN of a change is bound to: the HPKE info with which it is sealed.

    SHA-256 of: text "paycore.pin_change.new.v1", text user id, bytes challenge.
    """
    return hashlib.sha256(text(NEW_PIN_ENCODING) + text(user_id) + prefixed(challenge)).digest()


def pin_change_digest(user_id: str, challenge: bytes, new_pin: SealedPin) -> bytes:
    """What the old PIN approves when it is changed: the HPKE info with which it is sealed.

    SHA-256 of: text "paycore.pin_change.v1", text user id, bytes challenge, text key id of the
    sealed new PIN, bytes its ciphertext. With the new PIN in it, who carries the old one cannot
    set a PIN of his own.
    """
    return hashlib.sha256(
        text(PIN_CHANGE_ENCODING)
        + text(user_id)
        + prefixed(challenge)
        + text(new_pin.key_id)
        + prefixed(new_pin.ciphertext)
    ).digest()


def device_enrolment_digest(
    user_id: str, challenge: bytes, algorithm: DeviceAlgorithm, public_key: bytes
) -> bytes:
    """What is approved when a device key is enrolled.

    The key itself signs it, which proves possession, and the user's PIN is sealed with it as HPKE
    info. SHA-256 of: text "paycore.device_enrolment.v1", text user id, bytes challenge, text
    algorithm, bytes public key.
    """
    return hashlib.sha256(
        text(DEVICE_ENROLMENT_ENCODING)
        + text(user_id)
        + prefixed(challenge)
        + text(algorithm.value)
        + prefixed(public_key)
    ).digest()

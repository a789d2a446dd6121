"""The shape of requests is checked here, with every violation at once."""

from __future__ import annotations

import re
from collections.abc import Callable

from google.protobuf.timestamp_pb2 import Timestamp

from paycore.domain.device_key import (
    DEVICE_ID_CHARACTERS,
    MAX_PUBLIC_KEY_BYTES,
    MAX_SIGNATURE_BYTES,
    is_device_id,
)
from paycore.domain.errors import Violation, invalid_fields
from paycore.domain.pin import MAX_SEALED_PIN_BYTES, SealedPin
from paycore.signing.v1 import signing_service_pb2 as pb
from paycore.v1 import money_pb2, step_up_pb2, transfer_pb2
from signing_service.challenges import MAX_CHALLENGE_BYTES

MAX_NAME = 128
MAX_REASON = 256

PRINTABLE_ASCII = re.compile(r"[\x20-\x7e]+")
_CURRENCY = re.compile(r"[A-Z]{3}")
_LATEST_S = 253_402_300_799
"""9999-12-31T23:59:59Z, the last second of google.protobuf.Timestamp."""


class Checks:
    """Collects the violations of one request."""

    def __init__(self) -> None:
        self._violations: list[Violation] = []

    def that(self, holds: bool, field: str, rule: str) -> None:
        """Note a violation of `rule` by `field` unless it holds."""
        if not holds:
            self._violations.append(Violation(field, rule))

    def name(
        self, value: str, field: str, form: Callable[[str], object], most: int = MAX_NAME
    ) -> None:
        """A text of 1 to `most` characters of which `form` is true."""
        self.that(
            0 < len(value) <= most and bool(form(value)),
            field,
            f"1 to {most} printable characters",
        )

    def user(self, user_id: str) -> None:
        """The user that a request is about."""
        self.name(user_id, "user_id", str.isprintable)

    def reason(self, reason: str) -> None:
        """Why a caller decides something."""
        self.name(reason, "reason", str.isprintable, MAX_REASON)

    def size(self, value: bytes, field: str, most: int) -> None:
        """1 to `most` bytes."""
        self.that(0 < len(value) <= most, field, f"1 to {most} bytes")

    def challenge(self, challenge: bytes) -> None:
        """What CreateChallenge gave."""
        self.size(challenge, "challenge", MAX_CHALLENGE_BYTES)

    def sealed_pin(self, sealed: step_up_pb2.SealedPin, field: str) -> None:
        """A sealed PIN, whatever is inside."""
        self.name(sealed.key_id, f"{field}.key_id", PRINTABLE_ASCII.fullmatch)
        self.size(sealed.ciphertext, f"{field}.ciphertext", MAX_SEALED_PIN_BYTES)

    def device_id(self, device_id: str, field: str) -> None:
        """What EnrollDevice gave."""
        self.that(
            is_device_id(device_id),
            field,
            f"{DEVICE_ID_CHARACTERS} hexadecimal digits in lower case",
        )

    def device_key(self, key: pb.DeviceKey) -> None:
        """A key that a device presents."""
        self.that(
            key.algorithm != 0 and key.algorithm in pb.DeviceAlgorithm.values(),
            "key.algorithm",
            "an algorithm of devices",
        )
        self.size(key.public_key, "key.public_key", MAX_PUBLIC_KEY_BYTES)
        self.size(key.signature, "key.signature", MAX_SIGNATURE_BYTES)

    def kind(self, kind: int, field: str) -> None:
        """A kind of transfer."""
        self.that(
            kind != 0 and kind in transfer_pb2.TransferKind.values(), field, "a kind of transfer"
        )

    def account(self, account_id: int, field: str) -> None:
        """An account's id."""
        self.that(account_id > 0, field, "an account's id")

    def money(self, amount: money_pb2.Money, field: str) -> None:
        """An amount that is moved."""
        self.that(amount.minor_units > 0, f"{field}.minor_units", "positive")
        self.that(
            _CURRENCY.fullmatch(amount.currency) is not None,
            f"{field}.currency",
            "an ISO 4217 code",
        )

    def step_up(self, step_up: step_up_pb2.StepUp, *, has_sign_time: bool) -> None:
        """A proof and when it was made."""
        self.that(
            has_sign_time and _is_whole_us(step_up.sign_time),
            "step_up.sign_time",
            "a time in whole microseconds",
        )
        match step_up.WhichOneof("proof"):
            case "sealed_pin":
                self.sealed_pin(step_up.sealed_pin, "step_up.sealed_pin")
            case "device_signature":
                field = "step_up.device_signature"
                self.device_id(step_up.device_signature.device_id, f"{field}.device_id")
                self.size(
                    step_up.device_signature.signature, f"{field}.signature", MAX_SIGNATURE_BYTES
                )
            case _:
                self.that(False, "step_up.proof", "a sealed PIN or a device's signature")

    def done(self) -> None:
        """Raise PaycoreError INVALID_FIELD if anything did not hold."""
        if self._violations:
            raise invalid_fields(tuple(self._violations))


def sealed_pin_of(message: step_up_pb2.SealedPin) -> SealedPin:
    """A sealed PIN as it came."""
    return SealedPin(message.key_id, message.ciphertext)


def _is_whole_us(time: Timestamp) -> bool:
    return 0 <= time.seconds <= _LATEST_S and 0 <= time.nanos < 10**9 and time.nanos % 1_000 == 0

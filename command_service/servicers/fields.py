"""Checking the fields of a request: every violation is found, none is thrown until all are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from paycore.domain.errors import PaycoreError, Violation, invalid_fields
from paycore.domain.identifiers import MAX_SCHEME, MAX_VALUE, is_scheme, is_value
from paycore.runtime.account_names import Named
from paycore.runtime.addresses import packed
from paycore.runtime.currencies import is_in_force, is_known
from paycore.v1 import account_pb2, actor_pb2, money_pb2

MAX_AMOUNT = 2**62
"""Largest amount of one transfer, in minor units: two of them still fit int64."""

MAX_KEY = 128
MAX_REFERENCE = 128
MAX_NAME = 128
MAX_INSTITUTION = 64
MAX_DESCRIPTION = 512
MAX_REASON = 256
MAX_METADATA_KEYS = 20
MAX_METADATA_KEY = 64
MAX_METADATA_BYTES = 4096
MAX_BATCH = 1_000

EARLIEST_US = -62_135_596_800_000_000
LATEST_US = 253_402_300_799_999_999
"""0001-01-01 and 9999-12-31: what google.protobuf.Timestamp can hold, in microseconds."""


def is_key(value: str) -> bool:
    """Whether `value` may be an idempotency key."""
    return 0 < len(value) <= MAX_KEY and value.isascii() and value.isprintable()


def is_text(value: str, longest: int) -> bool:
    """Whether `value` has at most `longest` characters, all printable."""
    return len(value) <= longest and value.isprintable()


class Fields:
    """Collects violations of one request, or of one item of a bulk request."""

    __slots__ = ("_prefix", "_violations")

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._violations: list[Violation] = []

    def violate(self, field: str, description: str) -> None:
        """Note that `field` is wrong."""
        self._violations.append(Violation(self._prefix + field, description))

    def error(self) -> PaycoreError | None:
        """INVALID_FIELD with everything noted, or None."""
        return invalid_fields(tuple(self._violations)) if self._violations else None

    def check(self) -> None:
        """Raise what `error` gives, if anything."""
        error = self.error()
        if error is not None:
            raise error

    def key(self, value: str) -> None:
        """1-128 printable ASCII characters."""
        if not is_key(value):
            self.violate("idempotency_key", f"1 to {MAX_KEY} printable ASCII characters")

    def text(self, field: str, value: str, longest: int, *, required: bool = False) -> None:
        """Printable characters, at most `longest`; empty only where not required."""
        if not is_text(value, longest) or (required and not value):
            least = 1 if required else 0
            self.violate(field, f"{least} to {longest} printable characters")

    def positive_id(self, field: str, value: int) -> None:
        """The id of something that exists is above zero."""
        if value <= 0:
            self.violate(field, "the id of an account, above zero")

    def identifier(self, field: str, identifier: account_pb2.ExternalIdentifier) -> None:
        """A well-formed scheme and value."""
        if not is_scheme(identifier.scheme):
            self.violate(f"{field}.scheme", f"1 to {MAX_SCHEME} characters of a-z, 0-9, _ and -")
        if not is_value(identifier.value):
            self.violate(f"{field}.value", f"1 to {MAX_VALUE} printable characters")

    def account(self, request: Any, place: Named) -> None:
        """An account that is named by id, as it is once its identifier has been resolved."""
        if request.HasField(place.by_identifier):
            self.identifier(place.by_identifier, getattr(request, place.by_identifier))
        else:
            self.positive_id(place.by_id, getattr(request, place.by_id))

    def currency(self, field: str, code: str) -> None:
        """An ISO 4217 code in upper case."""
        if not is_known(code):
            self.violate(field, "an ISO 4217 currency code in upper case")

    def currency_in_force(self, field: str, code: str) -> None:
        """The same, of a currency that ISO has not withdrawn."""
        self.currency(field, code)
        if is_known(code) and not is_in_force(code):
            self.violate(field, "a currency in force: ISO 4217 has withdrawn this one")

    def money(self, field: str, money: money_pb2.Money) -> None:
        """A positive amount, in range, of a known currency."""
        if not 0 < money.minor_units <= MAX_AMOUNT:
            self.violate(f"{field}.minor_units", f"1 to {MAX_AMOUNT} minor units")
        self.currency(f"{field}.currency", money.currency)

    def metadata(self, values: Mapping[str, str]) -> None:
        """At most 20 keys and 4 KiB of printable text."""
        if len(values) > MAX_METADATA_KEYS:
            self.violate("metadata", f"at most {MAX_METADATA_KEYS} keys")
            return
        total = 0
        for key, value in values.items():
            total += len(key.encode()) + len(value.encode())
            if not (0 < len(key) <= MAX_METADATA_KEY and key.isprintable()):
                self.violate("metadata", f"keys of 1 to {MAX_METADATA_KEY} printable characters")
            if not value.isprintable():
                self.violate("metadata", "values of printable characters")
        if total > MAX_METADATA_BYTES:
            self.violate("metadata", f"at most {MAX_METADATA_BYTES} bytes in all")

    def actor(self, actor: actor_pb2.Actor) -> None:
        """Bounded ids and a well-formed address."""
        self.text("actor.user_id", actor.user_id, MAX_NAME)
        self.text("actor.device_id", actor.device_id, MAX_NAME)
        if actor.ip_address and packed(actor.ip_address) is None:
            self.violate("actor.ip_address", "an IPv4 or IPv6 address, without a zone")

    def time_us(self, field: str, time: Timestamp) -> int:
        """`time` in microseconds since 1970; 0 when it is out of range."""
        micros = time.seconds * 1_000_000 + time.nanos // 1_000
        if not (EARLIEST_US <= micros <= LATEST_US and 0 <= time.nanos < 1_000_000_000):
            self.violate(field, "a time between the years 1 and 9999")
            return 0
        return micros

"""Reads a request's fields and collects everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Violation, invalid_fields
from paycore.domain.identifiers import MAX_SCHEME, MAX_VALUE, is_scheme, is_value
from paycore.domain.position import Position
from paycore.domain.transfers import TransferKind
from paycore.runtime.account_names import Named
from paycore.runtime.currencies import is_known
from paycore.v1.transfer_pb2 import TransferKind as KindMessage

MAX_REFERENCE = 128
MAX_KINDS = 16

_POSITION_MAX_CHARACTERS = 64
_MIN_SECONDS, _MAX_SECONDS = -62_135_596_800, 253_402_300_799
"""0001-01-01 to 9999-12-31, the range of google.protobuf.Timestamp."""
_NANOS_A_SECOND = 1_000_000_000

_PREFIX = "TRANSFER_KIND_"
_KINDS: dict[int, TransferKind] = {
    KindMessage.Value(_PREFIX + kind.value): kind for kind in TransferKind
}


class Fields:
    """The violations found so far. Each method returns a usable value or notes what is wrong."""

    def __init__(self) -> None:
        self._violations: list[Violation] = []

    @property
    def are_valid(self) -> bool:
        """Whether nothing has been found wrong so far."""
        return not self._violations

    def refuse(self, field: str, description: str) -> None:
        """Note that `field` is wrong."""
        self._violations.append(Violation(field, description))

    def check(self) -> None:
        """Raise PaycoreError INVALID_FIELD with every violation noted, if there is any."""
        if self._violations:
            raise invalid_fields(tuple(self._violations))

    def identifier(self, field: str, value: int) -> int:
        """A required id."""
        if value <= 0:
            self.refuse(field, "must be a positive id")
        return value

    def account(self, request: Any, place: Named) -> AccountId:
        """A required account, named by id as it is once its identifier has been resolved."""
        if request.HasField(place.by_identifier):
            self._refuse_identifier(request, place)
            return AccountId(0)
        return AccountId(self.identifier(place.by_id, getattr(request, place.by_id)))

    def optional_account(self, request: Any, place: Named) -> AccountId | None:
        """The same, or zero for none."""
        if request.HasField(place.by_identifier):
            self._refuse_identifier(request, place)
            return None
        value = getattr(request, place.by_id)
        if value < 0:
            self.refuse(place.by_id, "must be a positive id, or zero for any")
        return AccountId(value) if value else None

    def _refuse_identifier(self, request: Any, place: Named) -> None:
        """Only a malformed identifier is left where it was."""
        identifier = getattr(request, place.by_identifier)
        if not is_scheme(identifier.scheme):
            self.refuse(
                f"{place.by_identifier}.scheme",
                f"must be 1 to {MAX_SCHEME} characters of a-z, 0-9, _ and -",
            )
        if not is_value(identifier.value):
            self.refuse(
                f"{place.by_identifier}.value", f"must be 1 to {MAX_VALUE} printable characters"
            )

    def time_us(self, field: str, value: Timestamp, *, given: bool) -> int | None:
        """A time in microseconds, rounded up: the first microsecond that is not before it."""
        if not given:
            return None
        in_range = _MIN_SECONDS <= value.seconds <= _MAX_SECONDS
        if not in_range or not 0 <= value.nanos < _NANOS_A_SECOND:
            self.refuse(field, "is not a time between the years 1 and 9999")
            return None
        return value.seconds * 1_000_000 + -(-value.nanos // 1_000)

    def last_us(self, field: str, value: Timestamp, *, given: bool) -> int | None:
        """A time in microseconds, rounded down: the last microsecond that is not after it."""
        first_us = self.time_us(field, value, given=given)
        return first_us - 1 if first_us is not None and value.nanos % 1_000 else first_us

    def required_time_us(self, field: str, request: Any) -> int:
        """A time as `time_us` reads it, which must be given."""
        if not request.HasField(field):
            self.refuse(field, "is required")
            return 0
        return self.time_us(field, getattr(request, field), given=True) or 0

    def ordered_times(self, start_us: int | None, end_us: int | None) -> None:
        """The end comes after the start, where both are given."""
        if start_us is not None and end_us is not None and end_us <= start_us:
            self.refuse("end_time", "must be after start_time")

    def kinds(self, field: str, values: Iterable[int]) -> frozenset[TransferKind]:
        """Known kinds; repeating one changes nothing."""
        listed = list(values)
        if len(listed) > MAX_KINDS:
            self.refuse(field, f"at most {MAX_KINDS}")
            return frozenset()
        for place, value in enumerate(listed):
            if value not in _KINDS:
                self.refuse(f"{field}[{place}]", "is not a kind of transfer")
        return frozenset(_KINDS[value] for value in listed if value in _KINDS)

    def currency(self, field: str, value: str) -> str | None:
        """An upper-case ISO 4217 code, or empty for any."""
        if value and not is_known(value):
            self.refuse(field, "is not an upper-case ISO 4217 code")
        return value or None

    def reference(self, field: str, value: str) -> str | None:
        """At most MAX_REFERENCE printable characters, or empty for any."""
        return self.printable(field, value, MAX_REFERENCE)

    def printable(self, field: str, value: str, most: int) -> str | None:
        """At most so many printable characters, or empty for any."""
        if len(value) > most:
            self.refuse(field, f"at most {most} characters")
        elif not value.isprintable():
            self.refuse(field, "must be printable characters")
        return value or None

    def at_most(self, field: str, value: int, *, default: int, maximum: int) -> int:
        """A count of at most `maximum`; zero stands for `default`."""
        if not 0 <= value <= maximum:
            self.refuse(field, f"must be between 1 and {maximum}, or zero for {default}")
        return value or default

    def position(self, field: str, value: str) -> Position | None:
        """A position from a reply, or empty for none."""
        if not value:
            return None
        try:
            if len(value) > _POSITION_MAX_CHARACTERS:
                raise ValueError("too long")
            return Position.decode(value)
        except ValueError:
            self.refuse(field, "is not a position from a reply")
            return None

    def merge(self, error: PaycoreError) -> None:
        """Note what another check found wrong."""
        self._violations += error.violations

"""Requests that are right but for one thing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from tests.support.fuzzing.messages import (
    END_GROUP,
    FIXED32,
    FIXED64,
    LENGTH,
    MOST_BYTES,
    START_GROUP,
    VARINT,
    Messages,
    long,
    tag,
)

COPIES = (2, 2, 3, 1_000, 1_001, 5_000)
"""How often a field is sent that is sent again: keys of maps come twice so, and lists are full."""

TOO_DEEP = (90, 101, 1_000)
"""Messages inside each other; protobuf reads a hundred."""


class _Part(NamedTuple):
    """One field as it is written, its tag included."""

    number: int
    wire: int
    whole: bytes
    body: bytes
    """Of a field with a length what is in it; empty for others."""


class Mutants:
    """Alters one thing of a request, at any depth."""

    def __init__(self, rng: random.Random, messages: Messages) -> None:
        self._rng = rng
        self._messages = messages
        self._alterations: dict[str, Callable[[_Part, FieldDescriptor | None], bytes]] = {
            "another value": self._another_value,
            "left out": lambda *_: b"",
            "again": self._again,
            "another type": lambda part, _: messages.of_another_type(part.number),
            "cut": lambda part, _: part.whole[: rng.randrange(len(part.whole))],
            "too deep": self._too_deep,
            "flipped": self._flipped,
        }
        self._kinds = ("another value",) * 5 + tuple(self._alterations)

    def of(self, descriptor: Descriptor, request: bytes) -> tuple[str, bytes]:
        """What was altered, and `request` so."""
        if self._rng.random() < 0.1:
            return "spoiled", self._messages.spoiled(request)
        return self._altered(descriptor, request)

    def _altered(self, descriptor: Descriptor, request: bytes) -> tuple[str, bytes]:
        rng = self._rng
        parts = list(_parts(request))
        fields = {field.number: field for field in descriptor.fields}
        absent = [field for field in fields.values() if field.number not in {p[0] for p in parts}]
        if not parts or rng.random() < 0.15:
            if absent and rng.random() < 0.7:
                return "added", request + self._messages.field(rng.choice(absent))
            return "unknown field", request + self._messages.unknown_field()
        at = rng.randrange(len(parts))
        part = parts[at]
        field = fields.get(part.number)
        inside = None if field is None else field.message_type
        if inside is not None and part.wire == LENGTH and rng.random() < 0.7:
            kind, body = self._altered(inside, part.body)
            changed = long(part.number, body)
        else:
            kind = rng.choice(self._kinds)
            changed = self._alterations[kind](part, field)
        before, after = parts[:at], parts[at + 1 :]
        return kind, b"".join((*(p.whole for p in before), changed, *(p.whole for p in after)))

    def _again(self, part: _Part, _: FieldDescriptor | None) -> bytes:
        most = 1 + MOST_BYTES // len(part.whole)
        return part.whole * min(self._rng.choice(COPIES), most)

    def _another_value(self, part: _Part, field: FieldDescriptor | None) -> bytes:
        if field is None:
            return self._messages.of_another_type(part.number)
        return self._messages.field(field)

    def _too_deep(self, part: _Part, _: FieldDescriptor | None) -> bytes:
        depth = self._rng.choice(TOO_DEEP)
        if self._rng.random() < 0.5:
            return tag(part.number, START_GROUP) * depth + tag(part.number, END_GROUP) * depth
        nested = part.body
        for _number in range(depth):
            nested = long(part.number, nested)
        return nested

    def _flipped(self, part: _Part, _: FieldDescriptor | None) -> bytes:
        octets = bytearray(part.whole)
        octets[self._rng.randrange(len(octets))] ^= 1 << self._rng.randrange(8)
        return bytes(octets)


def _parts(message: bytes) -> Iterator[_Part]:
    """The fields of a well-formed message without groups."""
    at = 0
    while at < len(message):
        began = at
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        body = b""
        match wire:
            case w if w == VARINT:
                _, at = _varint(message, at)
            case w if w == FIXED64:
                at += 8
            case w if w == FIXED32:
                at += 4
            case _:
                size, at = _varint(message, at)
                body = message[at : at + size]
                at += size
        yield _Part(number, wire, message[began:at], body)


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number that begins at `at`, and where the next thing does."""
    number = shift = 0
    while True:
        octet = message[at]
        number |= (octet & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if octet < 0x80:
            return number, at

"""Messages as bytes, written by hand: they can be wrong in ways that generated classes forbid."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable
from itertools import cycle, islice

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from tests.support.fuzzing.values import Known, Values

DEEPEST = 6
"""How deep messages nest that stay within what their descriptors say."""

MOST_FIELDS = 150
"""Fields that are made up for one request; what comes after is empty. Making them must not take
longer than answering."""

MOST_BYTES = 5_000_000
"""About how long a request may become by what is in it again and again: beyond what is read."""

MANY = (0, 1, 30, 600, 1_000, 1_001, 5_000)
"""Items of a repeated field that is not as it should be: up to and beyond what is allowed."""

DIFFERENT = 3
"""Items of a repeated field that are made up; where there are more, they are these again."""

VARINT, FIXED64, LENGTH, START_GROUP, END_GROUP, FIXED32 = range(6)

_FIXED64 = {
    FieldDescriptor.TYPE_FIXED64: "<Q",
    FieldDescriptor.TYPE_SFIXED64: "<q",
}
_FIXED32 = {FieldDescriptor.TYPE_FIXED32: "<I", FieldDescriptor.TYPE_SFIXED32: "<i"}
_ZIGZAG = (FieldDescriptor.TYPE_SINT32, FieldDescriptor.TYPE_SINT64)


class Messages:
    """Makes requests: half of them such as a caller might send, half of them less and less so."""

    def __init__(self, rng: random.Random, known: Known) -> None:
        self._rng = rng
        self._values = Values(rng, known)
        self._left = 0

    def request(self, descriptor: Descriptor) -> bytes:
        """Bytes to send where a message of `descriptor` belongs."""
        self._left = MOST_FIELDS
        chance = self._rng.random()
        if chance < 0.5:
            return self._message(descriptor, 0, wrong=0.0)
        if chance < 0.75:
            return self._message(descriptor, 0, wrong=0.1)
        if chance < 0.9:
            return self._message(descriptor, 0, wrong=0.6)
        return self.spoiled(self._message(descriptor, 0, wrong=0.2))

    def field(self, field: FieldDescriptor) -> bytes:
        """One `field` that is not as it should be."""
        self._left = MOST_FIELDS
        return b"".join(self._field(field, 1, wrong=1.0))

    def _message(self, descriptor: Descriptor, depth: int, wrong: float) -> bytes:
        """`wrong` is the share of fields that are not as they should be."""
        parts = [
            part
            for field in self._present(descriptor, wrong)
            for part in self._field(field, depth, wrong)
        ]
        if self._rng.random() < wrong / 3:
            parts.append(self.unknown_field())
        if wrong:
            self._rng.shuffle(parts)
        return b"".join(parts)

    def _present(self, descriptor: Descriptor, wrong: float) -> Iterable[FieldDescriptor]:
        chosen = {
            oneof.name: self._rng.choice(oneof.fields)
            for oneof in descriptor.oneofs
            if oneof.fields
        }
        for field in descriptor.fields:
            oneof = field.containing_oneof
            if oneof is not None and chosen[oneof.name] is not field and not self._hit(wrong):
                continue
            if not self._hit(max(wrong / 2, 0.1 if field.message_type is None else 0.3)):
                yield field

    def _field(self, field: FieldDescriptor, depth: int, wrong: float) -> list[bytes]:
        plausible = not self._hit(wrong)
        many = 1
        if field.is_repeated:
            many = self._rng.randrange(4) if plausible else self._rng.choice(MANY)
            if depth > 1:
                many = min(many, 30)
        elif not plausible and self._hit(0.2):
            many = 3  # the last of them counts
        made = [
            self._one(field, depth, wrong, plausible=plausible) for _ in range(min(many, DIFFERENT))
        ]
        largest = max(map(len, made), default=0)
        return list(islice(cycle(made), min(many, 1 + MOST_BYTES // (largest + 1))))

    def _one(self, field: FieldDescriptor, depth: int, wrong: float, *, plausible: bool) -> bytes:
        self._left -= 1
        if not plausible and self._hit(0.15):
            return self.of_another_type(field.number)
        match field.type:
            case FieldDescriptor.TYPE_MESSAGE:
                inside = field.message_type
                if inside is None or depth >= DEEPEST or self._left <= 0:
                    return long(field.number, b"")
                return long(field.number, self._message(inside, depth + 1, wrong))
            case FieldDescriptor.TYPE_STRING:
                return long(field.number, self._values.text(field, plausible=plausible))
            case FieldDescriptor.TYPE_BYTES:
                return long(field.number, self._values.octets(plausible=plausible))
            case FieldDescriptor.TYPE_ENUM:
                return tag(field.number, VARINT) + varint(
                    self._values.enum(field, plausible=plausible)
                )
            case FieldDescriptor.TYPE_DOUBLE:
                return tag(field.number, FIXED64) + struct.pack("<d", self._values.real())
            case FieldDescriptor.TYPE_FLOAT:
                return tag(field.number, FIXED32) + self._rng.randbytes(4)
            case kind if kind in _FIXED64:
                return tag(field.number, FIXED64) + self._rng.randbytes(8)
            case kind if kind in _FIXED32:
                return tag(field.number, FIXED32) + self._rng.randbytes(4)
            case kind:
                number = self._values.integer(field, plausible=plausible)
                if kind in _ZIGZAG:
                    number = (number << 1) ^ (number >> 63)
                return tag(field.number, VARINT) + varint(number)

    def of_another_type(self, number: int) -> bytes:
        """Field `number`, written as whatever it may be."""
        wire = self._rng.choice((VARINT, FIXED64, LENGTH, FIXED32))
        body = {
            VARINT: varint(self._rng.getrandbits(64)),
            FIXED64: self._rng.randbytes(8),
            FIXED32: self._rng.randbytes(4),
        }
        return (
            long(number, self._rng.randbytes(9))
            if wire == LENGTH
            else tag(number, wire) + body[wire]
        )

    def unknown_field(self) -> bytes:
        """A field that no message has, once or very often."""
        number = self._rng.choice((500, 19_999, 2**29 - 1))
        many = self._rng.choice((1, 1, 1, 2_000))
        return self.of_another_type(number) * many

    def spoiled(self, message: bytes) -> bytes:
        """`message` cut, flipped, nested too deep, too large, or something else altogether."""
        match self._rng.randrange(8):
            case 0:
                return message[: self._rng.randrange(len(message) + 1)]
            case 1:
                return message + self._rng.randbytes(self._rng.randrange(1, 9))
            case 2:
                return self._rng.randbytes(self._rng.randrange(400))
            case 3:
                depth = self._rng.choice((50, 99, 101, 5_000))
                return tag(7, START_GROUP) * depth + tag(7, END_GROUP) * depth
            case 4:
                nested = message
                for _ in range(self._rng.choice((90, 110, 1_000))):
                    nested = long(self._rng.randint(1, 4), nested)
                return nested
            case 5:
                return tag(1, LENGTH) + varint(2**31) + message
            case 6:
                return long(self._rng.randint(1, 9), b"\0" * self._rng.choice((1_000, 300_000)))
            case _:
                flipped = bytearray(message or b"\0")
                for _ in range(self._rng.randint(1, 4)):
                    flipped[self._rng.randrange(len(flipped))] ^= 1 << self._rng.randrange(8)
                return bytes(flipped)

    def _hit(self, share: float) -> bool:
        return self._rng.random() < share


def varint(number: int) -> bytes:
    """`number`, two's complement of 64 bits, as protobuf writes it."""
    rest = number & (2**64 - 1)
    octets = bytearray()
    while rest > 0x7F:
        octets.append(rest & 0x7F | 0x80)
        rest >>= 7
    octets.append(rest)
    return bytes(octets)


def tag(number: int, wire: int) -> bytes:
    """What is before a value: its field and how it is written."""
    return varint(number << 3 | wire)


def long(number: int, body: bytes) -> bytes:
    """Field `number` with what has a length: text, bytes, a message."""
    return tag(number, LENGTH) + varint(len(body)) + body

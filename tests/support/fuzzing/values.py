"""Values of single fields: what is on the edge, what is nonsense, and what the stack knows."""

from __future__ import annotations

import random
import string
import time
from collections import defaultdict
from collections.abc import Iterable

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

MOST_KNOWN = 500
"""Values remembered of one sort; a newer one takes the place of any of them."""

INTEGERS = (
    *(0, 1, -1, 2, 100, 499, 500, 501, 1_000, 1_001),
    *(2**31 - 1, 2**31, -(2**31), 2**32, 2**53, 2**62, 2**63 - 1, -(2**63)),
)
TEXTS = (
    b"",
    b" ",
    b"\0",
    b"a\0b",
    b"\x1b[2J",
    b"\r\n",
    "‮‏".encode(),
    "ﷺ".encode() * 40,
    "\U0001f4a3".encode(),
    "é".encode() * 128,
    b"' OR 1=1; --",
    b"%s%n{0}${jndi:ldap://x}",
    b"*:* OR _exists_:*",
    b"../../etc/passwd",
    b'{"a":',
    b"NaN",
    b"-0",
    b"9" * 40,
    b"x" * 129,
    b"x" * 5_000,
)
BROKEN_TEXTS = (b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"ok\x80")
"""Bytes that are no UTF-8."""

BYTES = (b"", b"\0", b"\0" * 32, b"\xff" * 32, b"\0" * 64, b"\x04" + b"\1" * 64, b"z" * 70_000)
"""Keys, signatures and ciphertexts by their lengths, and far too much."""

_SORTS = {"position": "min_position", "next_page_token": "page_token"}


class Known:
    """What makes calls go deeper than their shape: values that exist, learned from replies."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._values: dict[str, list[int | bytes]] = defaultdict(list)
        self._spared: set[int] = set()

    def spare(self, ids: Iterable[int]) -> None:
        """Never remember `ids`: at random they would be frozen, closed and emptied."""
        self._spared.update(ids)

    def add(self, sort: str, value: int | bytes) -> None:
        """`value` may be used in fields of `sort`, a field's name or its ending."""
        held = self._values[sort]
        if value in held or value in self._spared:
            return
        if len(held) < MOST_KNOWN:
            held.append(value)
        else:
            held[self._rng.randrange(MOST_KNOWN)] = value

    def of(self, field: FieldDescriptor) -> int | bytes | None:
        """A value that means something in `field`; none by which policies would change for all."""
        if "StepUpPolic" in _type_of(field) or "RiskRule" in _type_of(field):
            return None
        for sort in (field.name, field.name.rpartition("account_")[0] and "account_id"):
            if sort and self._values.get(sort):
                return self._rng.choice(self._values[sort])
        if field.name == "id" or field.name.endswith("_id"):
            sort = "transfer_id" if self._rng.random() < 0.5 else "account_id"
            if field.type == FieldDescriptor.TYPE_INT64 and self._values.get(sort):
                return self._rng.choice(self._values[sort])
        return None

    def learn(self, message: Message) -> None:
        """Remember ids and tokens of a reply."""
        for field, value in message.ListFields():
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                if isinstance(value, Message):
                    self.learn(value)
                else:
                    for one in list(value)[:5]:
                        if isinstance(one, Message):
                            self.learn(one)
            elif field.name == "id" and isinstance(value, int):
                self.add(f"{message.DESCRIPTOR.name.lower()}_id", value)
            elif field.name in _SORTS and isinstance(value, str):
                self.add(_SORTS[field.name], value.encode())
            elif field.name.endswith("_id") and isinstance(value, str):
                self.add(field.name, value.encode())


class Values:
    """Makes one value after the other."""

    def __init__(self, rng: random.Random, known: Known) -> None:
        self._rng = rng
        self._known = known

    def integer(self, field: FieldDescriptor, *, plausible: bool) -> int:
        """Of any size that 64 bits hold; in a timestamp near now, where it is to be `plausible`."""
        if plausible:
            known = self._known.of(field)
            if isinstance(known, int):
                return known
            match _type_of(field), field.name:
                case "google.protobuf.Timestamp", "seconds":
                    return int(time.time()) + self._rng.choice((0, 0, 0, -3_600, 3_600, -86_400))
                case "google.protobuf.Timestamp" | "google.protobuf.Duration", _:
                    return self._rng.randrange(1_000)
                case "paycore.v1.RateLimit", _:
                    # Such a limit can be set, and stops nobody.
                    return 100_000
                case "paycore.v1.VelocityLimit", _:
                    return 900
                case _, ("minor_units" | "limit" | "overdraft_limit" | "page_size"):
                    return self._rng.randint(1, 400)
                case _:
                    return self._rng.choice((0, 1, 2, 10))
        if self._rng.random() < 0.7:
            return self._rng.choice(INTEGERS)
        return self._rng.getrandbits(64) - 2**63

    def enum(self, field: FieldDescriptor, *, plausible: bool) -> int:
        """One of its numbers, or one that it does not have."""
        kind = field.enum_type
        assert kind is not None
        numbers = [value.number for value in kind.values]
        if plausible:
            return self._rng.choice(numbers[1:] or numbers)
        return self._rng.choice((*numbers, 99, -1, 2**31 - 1, 2**40))

    def text(self, field: FieldDescriptor, *, plausible: bool) -> bytes:
        """UTF-8, but for some that are none."""
        if plausible:
            known = self._known.of(field)
            if isinstance(known, bytes) and self._rng.random() < 0.8:
                return known
            letters = self._rng.choices(string.ascii_lowercase + string.digits, k=12)
            return "".join(letters).encode()
        if self._rng.random() < 0.1:
            return self._rng.choice(BROKEN_TEXTS)
        if self._rng.random() < 0.7:
            return self._rng.choice(TEXTS)
        marks = (chr(self._rng.choice((self._rng.randrange(32, 0xD800), 7, 0))) for _ in range(9))
        return "".join(marks).encode()

    def octets(self, *, plausible: bool) -> bytes:
        """Bytes of any kind; where they are to be `plausible`, as many as keys have."""
        if plausible:
            return self._rng.randbytes(self._rng.choice((16, 32, 64, 65, 96)))
        if self._rng.random() < 0.5:
            return self._rng.choice(BYTES)
        return self._rng.randbytes(self._rng.randrange(200))

    def real(self) -> float:
        """A floating-point number, with those that are none."""
        return self._rng.choice((0.0, -0.0, 1.5, 1e308, float("inf"), float("-inf"), float("nan")))


def _type_of(field: FieldDescriptor) -> str:
    """Full name of the message that has `field`."""
    return "" if field.containing_type is None else field.containing_type.full_name

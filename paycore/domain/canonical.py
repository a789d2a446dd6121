"""The fields of which everything that is signed or sealed is encoded.

A sequence of fields without padding, so that no two inputs share an encoding:

- text:    2 bytes big-endian length in bytes, then UTF-8 as given (no normalization)
- bytes:   2 bytes big-endian length, then the bytes
- integer: 8 bytes big-endian, two's complement

docs/step_up_digest.md describes each encoding byte by byte.
"""

from __future__ import annotations

import struct

MAX_FIELD_BYTES = 0xFFFF


def integer(value: int) -> bytes:
    """`value` as a field. Raises ValueError outside int64."""
    try:
        return struct.pack(">q", value)
    except struct.error as error:
        raise ValueError("an integer is outside int64") from error


def text(value: str) -> bytes:
    """`value` as a field. Raises ValueError when it is longer than 65,535 bytes."""
    return prefixed(value.encode("utf-8"))


def prefixed(value: bytes) -> bytes:
    """`value` as a field. Raises ValueError when it is longer than 65,535 bytes."""
    if len(value) > MAX_FIELD_BYTES:
        raise ValueError("a field is longer than 65,535 bytes")
    return struct.pack(">H", len(value)) + value

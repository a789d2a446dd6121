"""The fields of which encodings are made, at their bounds."""

from __future__ import annotations

import pytest

from paycore.domain.canonical import MAX_FIELD_BYTES, integer, prefixed, text
from paycore.domain.money import MAX_MINOR, MIN_MINOR


def test_a_field_has_its_length_before_it() -> None:
    assert text("") == b"\x00\x00"
    assert text("\u00e9") == b"\x00\x02\xc3\xa9"
    assert prefixed(b"\x00\xff") == b"\x00\x02\x00\xff"


def test_the_longest_field_has_65_535_bytes() -> None:
    longest = b"x" * MAX_FIELD_BYTES
    assert prefixed(longest) == b"\xff\xff" + longest
    with pytest.raises(ValueError, match="longer than"):
        prefixed(longest + b"x")
    with pytest.raises(ValueError, match="longer than"):
        text("\u00e9" * 32_768)


def test_an_integer_has_eight_bytes_and_a_sign() -> None:
    assert integer(1) == b"\x00" * 7 + b"\x01"
    assert integer(-1) == b"\xff" * 8
    assert integer(MAX_MINOR) == b"\x7f" + b"\xff" * 7
    assert integer(MIN_MINOR) == b"\x80" + b"\x00" * 7
    for beyond in (MAX_MINOR + 1, MIN_MINOR - 1):
        with pytest.raises(ValueError, match="outside int64"):
            integer(beyond)

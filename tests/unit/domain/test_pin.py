"""PINs do not show themselves, and are sealed in one form only."""

from __future__ import annotations

import copy
import json
import pickle
import traceback

import pytest

from paycore.domain.pin import PLAINTEXT_BYTES, Pin, SealedPin, pin_of_plaintext, pin_plaintext

CANARY = "739182640517"


@pytest.mark.parametrize("digits", ["1234", "000000", "123456789012"])
def test_four_to_twelve_digits_are_a_pin(digits: str) -> None:
    assert Pin(digits).reveal() == digits


@pytest.mark.parametrize(
    "text", ["", "123", "1234567890123", "12 4", "12a4", "-123", "1234\n", "١٢٣٤", "²²²²"]
)
def test_anything_else_is_none_and_is_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="4 to 12 digits") as raised:
        Pin(text)
    assert not text or text not in str(raised.value)


def test_a_pin_prints_as_stars_everywhere() -> None:
    pin = Pin(CANARY)
    shown = [str(pin), repr(pin), f"{pin}", f"{pin:>20}", "%s %r" % (pin, pin), repr([pin])]  # noqa: UP031
    assert not any(CANARY in text for text in shown)
    assert str(pin) == f"{pin:>20}" == "***"
    with pytest.raises(RuntimeError) as raised:
        raise RuntimeError(pin)
    assert CANARY not in "".join(traceback.format_exception(raised.value))


def test_a_pin_cannot_be_written_out_by_accident() -> None:
    pin = Pin(CANARY)
    for write in (pickle.dumps, copy.deepcopy, json.dumps, vars):
        with pytest.raises(TypeError) as raised:
            write(pin)
        assert CANARY not in str(raised.value)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(pin)


def test_a_sealed_pin_prints_without_its_ciphertext() -> None:
    sealed = SealedPin("sealing-1", b"ciphertext")
    assert "ciphertext=***" in repr(sealed)
    assert "b'ciphertext'" not in f"{sealed} {sealed!r}"


@pytest.mark.parametrize("digits", ["1234", "987654321098", CANARY])
def test_the_plaintext_has_one_length_and_opens_to_the_pin(digits: str) -> None:
    plaintext = pin_plaintext(Pin(digits))
    assert len(plaintext) == PLAINTEXT_BYTES
    assert pin_of_plaintext(plaintext).reveal() == digits


@pytest.mark.parametrize(
    "plaintext",
    [
        b"",
        b"1234",
        b"1234".ljust(15, b"\0"),
        b"1234".ljust(17, b"\0"),
        b"123".ljust(16, b"\0"),
        b"1234567890123".ljust(16, b"\0"),
        b"12\x0034".ljust(16, b"\0"),
        b"\x001234".ljust(16, b"\0"),
        b"1234".ljust(16, b" "),
        b"12a4".ljust(16, b"\0"),
        b"\0" * 16,
    ],
)
def test_a_plaintext_of_another_form_is_no_pin(plaintext: bytes) -> None:
    with pytest.raises(ValueError, match="PIN has") as raised:
        pin_of_plaintext(plaintext)
    assert "1234" not in str(raised.value)

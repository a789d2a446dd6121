"""What an id of a device looks like."""

from __future__ import annotations

import pytest

from paycore.domain.device_key import is_device_id


@pytest.mark.parametrize("text", ["0" * 32, "0123456789abcdef" * 2])
def test_an_id_is_32_hexadecimal_digits(text: str) -> None:
    assert is_device_id(text)


@pytest.mark.parametrize("text", ["", "0" * 31, "0" * 33, "g" + "0" * 31, "A" + "0" * 31])
def test_another_text_is_none(text: str) -> None:
    assert not is_device_id(text)

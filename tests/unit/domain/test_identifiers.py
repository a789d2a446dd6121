"""The shape of external identifiers."""

from __future__ import annotations

import pytest

from paycore.domain.identifiers import ExternalIdentifier, is_scheme, is_value


@pytest.mark.parametrize("text", ["a", "stripe", "bank-of_9", "x" * 32])
def test_schemes(text: str) -> None:
    assert is_scheme(text)


@pytest.mark.parametrize("text", ["", "Stripe", "a b", "a:b", "é", "x" * 33, "a\n", "٣"])
def test_what_is_no_scheme(text: str) -> None:
    assert not is_scheme(text)


@pytest.mark.parametrize("text", ["1", "cus_42", "DE02 1203", "ö", "x" * 128])
def test_values(text: str) -> None:
    assert is_value(text)


@pytest.mark.parametrize("text", ["", "x" * 129, "a\n", "a\x1fb", "\u200b"])
def test_what_is_no_value(text: str) -> None:
    assert not is_value(text)


def test_it_is_written_with_a_colon() -> None:
    assert str(ExternalIdentifier("stripe", "cus_42")) == "stripe:cus_42"

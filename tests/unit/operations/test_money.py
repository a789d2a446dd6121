"""Amounts are read and written exactly, in the currency's own exponent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.money import format_amount, format_money, parse_amount


@pytest.mark.parametrize(
    ("text", "currency", "minor_units"),
    [
        ("12.50", "EUR", 1250),
        ("12.5", "EUR", 1250),
        ("12", "EUR", 1200),
        ("0.01", "EUR", 1),
        ("0", "EUR", 0),
        ("1500", "JPY", 1500),
        ("1.234", "BHD", 1234),
        ("0.29", "USD", 29),
        ("92233720368547758.07", "EUR", 2**63 - 1),
        ("90071992547409.93", "EUR", 2**53 + 1),
    ],
)
def test_an_amount_is_read_exactly(text: str, currency: str, minor_units: int) -> None:
    assert parse_amount(text, currency) == minor_units


@pytest.mark.parametrize(
    ("text", "currency", "complaint"),
    [
        ("12.505", "EUR", "at most 2 decimals"),
        ("12.500", "EUR", "at most 2 decimals"),
        ("1.0", "JPY", "no decimals"),
        ("92233720368547758.08", "EUR", "more than paycore can hold"),
        ("-1", "EUR", "not an amount"),
        ("+1", "EUR", "not an amount"),
        ("1,000", "EUR", "not an amount"),
        ("1e3", "EUR", "not an amount"),
        ("", "EUR", "not an amount"),
        (".5", "EUR", "not an amount"),
        ("5.", "EUR", "not an amount"),
        ("١٢", "EUR", "not an amount"),
        ("1\n", "EUR", "not an amount"),
        ("1", "eur", "not an ISO 4217"),
        ("1", "XAU", "not an ISO 4217"),
        ("1", "ZZZ", "not an ISO 4217"),
    ],
)
def test_what_is_not_exactly_an_amount_is_refused(text: str, currency: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_amount(text, currency)


@given(minor_units=st.integers(0, 2**63 - 1), currency=st.sampled_from(["EUR", "JPY", "BHD"]))
def test_what_is_written_is_read_back(minor_units: int, currency: str) -> None:
    assert parse_amount(format_amount(minor_units, currency).replace(",", ""), currency) == (
        minor_units
    )


def test_amounts_are_written_for_people() -> None:
    assert format_money(123456789, "EUR") == "1,234,567.89 EUR"
    assert format_money(-5, "EUR") == "-0.05 EUR"
    assert format_money(1234, "JPY") == "1,234 JPY"

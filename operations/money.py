"""Amounts as people write them: decimals in the currency's own exponent, exactly."""

from __future__ import annotations

import re

from paycore.domain.money import MAX_MINOR
from paycore.runtime.currencies import EXPONENTS

_DECIMAL = re.compile(r"(\d+)(?:\.(\d+))?", re.ASCII)


def exponent(currency: str) -> int:
    """Decimals of `currency`: 2 for EUR, 0 for JPY. Raises ValueError for what is not one."""
    try:
        return EXPONENTS[currency]
    except KeyError:
        raise ValueError(f"{currency!r} is not an ISO 4217 currency code, such as EUR") from None


def parse_amount(text: str, currency: str) -> int:
    """Minor units in `text`, such as 12.50.

    Raises ValueError when it is no plain positive decimal, has more decimals than the currency, or
    exceeds the largest amount.
    """
    decimals = exponent(currency)
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an amount: write it like 12.50, without signs or commas")
    whole, fraction = match[1], match[2] or ""
    if len(fraction) > decimals:
        allowed = "no decimals" if decimals == 0 else f"at most {decimals} decimals"
        raise ValueError(f"{text} has too many decimals: {currency} has {allowed}")
    minor_units = int(whole + fraction.ljust(decimals, "0"))
    if minor_units > MAX_MINOR:
        raise ValueError(f"{text} {currency} is more than paycore can hold")
    return minor_units


def format_amount(minor_units: int, currency: str) -> str:
    """`minor_units` as a decimal with thousands set apart, without the currency."""
    decimals = exponent(currency)
    sign = "-" if minor_units < 0 else ""
    whole, fraction = divmod(abs(minor_units), 10**decimals)
    return f"{sign}{whole:,}" + (f".{fraction:0{decimals}}" if decimals else "")


def plain_amount(minor_units: int, currency: str) -> str:
    """`minor_units` as a decimal for programs: 1234.50, without anything set apart."""
    return format_amount(minor_units, currency).replace(",", "")


def format_money(minor_units: int, currency: str) -> str:
    """`minor_units` as a decimal with its currency: 1,234.50 EUR."""
    return f"{format_amount(minor_units, currency)} {currency}"

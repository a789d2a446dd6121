"""The ISO 4217 table: which currencies there are and how many decimals each has."""

from __future__ import annotations

import iso4217

EXPONENTS: dict[str, int] = {
    currency.code: currency.exponent
    for currency in iso4217.Currency
    if currency.exponent is not None
}
"""Decimals of the minor unit by code: JPY 0, USD 2, BHD 3. Codes without one (XAU) are left out."""


def is_known(code: str) -> bool:
    """Whether `code` is an ISO 4217 code, upper case, of a currency with minor units."""
    return code in EXPONENTS

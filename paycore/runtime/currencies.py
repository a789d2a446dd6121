"""The ISO 4217 table: which currencies there are and how many decimals each has."""

from __future__ import annotations

import iso4217

WITHDRAWN: dict[str, int] = {
    "ANG": 2,
    "BGN": 2,
    "BYR": 0,
    "CUC": 2,
    "HRK": 2,
    "LTL": 2,
    "LVL": 2,
    "MRO": 2,
    "SLL": 2,
    "STD": 2,
    "USS": 2,
    "VEF": 2,
    "ZMK": 2,
    "ZWL": 2,
}
"""Decimals of what ISO has withdrawn since 2012: ISO 4217, list three (historic denominations),
with the minor units that list one had for them last. Money that stands in them must still be read,
and paid out; the package lists only what is in force on the day of its release."""

_LISTED = {
    currency.code: currency.exponent
    for currency in iso4217.Currency
    if currency.exponent is not None
}

EXPONENTS: dict[str, int] = {**WITHDRAWN, **_LISTED}
"""Decimals of the minor unit by code: JPY 0, USD 2, BHD 3. Codes without one (XAU) are left out."""


def is_known(code: str) -> bool:
    """Whether `code` is an ISO 4217 code, upper case, of a currency with minor units, in force or
    withdrawn."""
    return code in EXPONENTS


def is_in_force(code: str) -> bool:
    """Whether `code` is known and not withdrawn, so that accounts may be opened in it."""
    return code in _LISTED

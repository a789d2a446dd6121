"""Amounts of money: exact integers in minor units of one currency."""

from __future__ import annotations

from typing import NewType

Minor = NewType("Minor", int)
"""An amount in minor units: cents for USD, yen for JPY, fils for BHD."""

Currency = NewType("Currency", str)
"""An ISO 4217 alphabetic code, upper case."""

MAX_MINOR = Minor(2**63 - 1)
"""The largest amount and the largest balance: int64 in messages and in the tables."""

MIN_MINOR = Minor(-(2**63))

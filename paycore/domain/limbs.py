"""Amounts in limbs, for stores that sum in doubles.

A double holds integers exactly below 2**53 only, so sums of amounts would lose cents. A limb is
below 2**21: sums of one limb stay exact over 2**32 rows, and joining them gives the exact sum.
"""

from __future__ import annotations

from collections.abc import Iterable

LIMB_BITS = 21

LIMB_FIELDS = ("amount_limb0", "amount_limb1", "amount_limb2")
"""Names of the limbs beside an amount, low first; together they hold 63 bits."""

_MASK = (1 << LIMB_BITS) - 1


def split(amount: int) -> tuple[int, int, int]:
    """The limbs of an amount, 0 to 2**63 - 1 minor units, low first."""
    return amount & _MASK, amount >> LIMB_BITS & _MASK, amount >> 2 * LIMB_BITS


def join(limbs: Iterable[float]) -> int:
    """The amount with these limbs, or the sum of amounts with these sums of limbs, low first."""
    return sum(int(limb) << LIMB_BITS * place for place, limb in enumerate(limbs))

"""What ids tell of times."""

from __future__ import annotations

from paycore.runtime.snowflake import created_at_ms

CLOCKS_APART_US = 31 * 86_400_000_000
"""How far apart a transfer's time and that in its id may be, in microseconds. Far more than clocks
ever are: ids only tell which months need not be looked at."""


def not_before_us(id_: int) -> int:
    """A time before which neither the transfer nor the account of this id had any history."""
    return max(0, created_at_ms(id_) * 1_000 - CLOCKS_APART_US)

"""Unique, time-ordered 63-bit ids (Snowflakes), and the time in them."""

from __future__ import annotations

EPOCH_MS = 1_735_689_600_000
"""2025-01-01T00:00:00Z: ids last until 2094."""


def created_at_ms(snowflake: int) -> int:
    """Milliseconds since 1970 at which `snowflake` was made."""
    return (snowflake >> 22) + EPOCH_MS


def first_id_at(time_us: int) -> int:
    """The lowest id that can be made from that time on, within the range of ids: 0 to 2^63 - 1."""
    return min(max(0, time_us // 1_000 - EPOCH_MS) << 22, 2**63 - 1)

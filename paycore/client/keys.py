"""The idempotency keys that a client makes."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable

_RANDOM_BITS = 74
_VARIANT_BITS = 62


def new_key(now_us: int, random_bits: Callable[[int], int] = secrets.randbits) -> str:
    """A UUID version 7 (RFC 9562, section 5.7) for a time in microseconds since 1970.

    It begins with the time, so that the ledger has recent keys close together, which random ones
    are not; 74 random bits keep it unique, and nobody guesses it.
    """
    chance = random_bits(_RANDOM_BITS)
    high, low = chance >> _VARIANT_BITS, chance & ((1 << _VARIANT_BITS) - 1)
    milliseconds = (now_us // 1_000) & ((1 << 48) - 1)
    return str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | high << 64 | 2 << _VARIANT_BITS | low))

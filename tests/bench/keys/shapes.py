"""The keys that callers make: random ones, and ones that begin with the time."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field
from enum import StrEnum

from paycore.client.keys import new_key

CLIENTS = 8
"""Callers, each with keys of its own."""

KEYS_PER_MS = 2
"""How fast the clock of time-ordered keys goes: 2,000 keys a second over all callers."""

JITTER_MS = 250
"""How far behind the clock a key may be: callers' clocks differ, and retries come late."""

EPOCH_MS = 1_700_000_000_000


class Shape(StrEnum):
    """What a key looks like."""

    RANDOM = "random"
    """UUID version 4, RFC 9562 section 5.4."""
    ORDERED = "ordered"
    """UUID version 7, RFC 9562 section 5.7: the time in milliseconds, then chance."""


@dataclass(slots=True)
class Keys:
    """Makes keys one after another, in Python or by SQL, on one clock."""

    shape: Shape
    chance: random.Random
    made: int = field(default=0)

    def take(self, count: int) -> tuple[list[str], list[str]]:
        """Clients and keys of the next `count` rows."""
        numbers = range(self.made, self.made + count)
        self.made += count
        return [client(number) for number in numbers], [self._key(number) for number in numbers]

    def expressions(self) -> tuple[str, str]:
        """SQL for the client and the key of row `number` (counted from 0)."""
        chance = "gen_random_uuid()::text"
        # A volatile function is called for each row, once.
        if self.shape is Shape.RANDOM:
            key = chance
        else:
            late = f"floor(random() * {JITTER_MS})::bigint"
            ms = f"lpad(to_hex({EPOCH_MS} + number / {KEYS_PER_MS} - {late}), 12, '0')"
            key = f"overlay(overlay({chance} placing '7' from 15) placing {_hyphened(ms)} from 1)"
        return f"'client-service-' || lpad((number % {CLIENTS})::text, 2, '0')", key

    def _key(self, number: int) -> str:
        if self.shape is Shape.RANDOM:
            return str(uuid.UUID(int=self.chance.getrandbits(128), version=4))
        ms = EPOCH_MS + number // KEYS_PER_MS - self.chance.randrange(JITTER_MS)
        return new_key(ms * 1_000, self.chance.getrandbits)


def client(number: int) -> str:
    """Who sent row `number`."""
    return f"client-service-{number % CLIENTS:02d}"


def _hyphened(twelve: str) -> str:
    """SQL for a UUID's first 13 characters from its first 12 hexadecimal digits."""
    return f"regexp_replace({twelve}, '^(.{{8}})', '\\1-')"

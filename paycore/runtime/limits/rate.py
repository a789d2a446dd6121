"""What a rate limit is, and what one call takes from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from prometheus_client import Counter

US = 1_000_000

DECISIONS = Counter(
    "paycore_limit_decisions_total",
    "Decisions of limits: by redis, by the fallback, by units taken ahead, by postgres.",
    ["limit", "decision", "by"],
)


class Limit(StrEnum):
    """Which limit tripped: `limit` in the metadata of RATE_LIMITED."""

    # That of Enum is written in Python, and each call looks limits up several times.
    __hash__ = str.__hash__

    CLIENT = "client"
    ADDRESS = "address"
    USER = "user"
    DEVICE = "device"
    VELOCITY = "velocity"


RATES = (Limit.CLIENT, Limit.ADDRESS, Limit.USER, Limit.DEVICE)
"""Limits that have a rate, in the order in which they are asked."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A steady rate and how much of it may come at once."""

    per_s: float
    burst: int

    @property
    def interval_us(self) -> float:
        """Microseconds that one unit takes up."""
        return US / self.per_s

    def part(self, share: float) -> RateLimit:
        """The limit of which `share` is left; at least one unit may come at once."""
        return RateLimit(self.per_s * share, max(1, int(self.burst * share)))


class Charge(NamedTuple):
    """What a call takes from one limit."""

    limit: Limit
    key: str
    """Whose units: what is counted together has the same key."""
    rate: RateLimit
    cost: int
    """At least 1."""


class Excess(NamedTuple):
    """Why a call was refused."""

    charge: Charge
    wait_us: float
    """Microseconds after which there would be room."""

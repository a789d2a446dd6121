"""What limits there are, what each can be set to, and in which place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

US = 1_000_000

LONGEST_S = 86_400
"""Bound on burst / per_s and on windows, in seconds: state is kept for as long."""

MOST_BURST = 1_000_000_000

MOST_DISTINCT = 1_000
"""Bound on payees and identifiers: as many rows are kept for each device."""

HIGHEST_PER_S = 1e9


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


class VelocityLimit(NamedTuple):
    """How many different ones a device may touch within a time."""

    window_s: int
    payees: int
    identifiers: int


Setting = RateLimit | VelocityLimit | None
"""What a limit is set to; None is no such limit."""


class Source(StrEnum):
    """Who says what a limit is set to; each overrides those before it in the same place."""

    DEFAULT = "DEFAULT"
    FILE = "FILE"
    DATABASE = "DATABASE"


class Place(NamedTuple):
    """For whom a limit is set."""

    client: str
    """Empty for every client of whom nothing else is said."""
    method: str
    """`package.Service/Method`, whose calls then count apart; empty for all of them."""
    limit: Limit

    def nearest_first(self) -> Iterator[Place]:
        """The places that are looked at for what holds here."""
        yield self
        if self.method:
            yield self._replace(method="")
        if self.client:
            yield Place("", "", self.limit)


def place_faults(place: Place) -> dict[str, str]:
    """By field what is wrong with a limit being set there, and how it should be."""
    if not place.method:
        return {}
    if place.limit is Limit.VELOCITY:
        return {"method": "not with velocity, which counts over all methods"}
    return {} if place.client else {"method": "with a client, and only then"}


def rate_faults(per_s: object, burst: object) -> dict[str, str]:
    """By field what is wrong with these figures of a rate, and how they should be."""
    faults: dict[str, str] = {}
    number = isinstance(per_s, int | float) and not isinstance(per_s, bool)
    # Written so that NaN is none either.
    if not (number and 0 < per_s < HIGHEST_PER_S):  # type: ignore[operator]  # a number, then
        faults["per_s"] = f"a number above 0 and below {HIGHEST_PER_S:g}"
    faults.update(_whole("burst", burst, MOST_BURST))
    if not faults and burst > per_s * LONGEST_S:  # type: ignore[operator]  # numbers, then
        faults["burst"] = f"what comes back within {LONGEST_S} s at this rate"
    return faults


def velocity_faults(window_s: object, payees: object, identifiers: object) -> dict[str, str]:
    """By field what is wrong with these figures of velocity, and how they should be."""
    return {
        **_whole("window_s", window_s, LONGEST_S),
        **_whole("payees", payees, MOST_DISTINCT),
        **_whole("identifiers", identifiers, MOST_DISTINCT),
    }


def _whole(field: str, value: object, most: int) -> dict[str, str]:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most:
        return {}
    return {field: f"a whole number from 1 to {most}"}

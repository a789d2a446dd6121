"""What one call takes from a limit."""

from __future__ import annotations

from typing import NamedTuple

from paycore.domain.limits import Limit, RateLimit
from paycore.runtime.metric_definitions import counter, of

ADMITTED, REFUSED = DECISION = ("admitted", "refused")
REDIS, FALLBACK, AHEAD, POSTGRES = DECIDED_BY = ("redis", "fallback", "ahead", "postgres")

DECISIONS = counter(
    "paycore_limit_decisions_total",
    "Decisions of limits: by redis, by the fallback, by units taken ahead, by postgres.",
    unit="decisions",
    labels={"limit": of(Limit), "decision": DECISION, "by": DECIDED_BY},
    at_zero=False,
)


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

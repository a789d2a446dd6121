"""What came of the calls, method by method."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import grpc

DECLINED = frozenset(
    {
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
    }
)
"""Codes of requests that were understood, and decided."""

COLUMNS: Mapping[str, frozenset[grpc.StatusCode]] = {
    "ok": frozenset({grpc.StatusCode.OK}),
    "declined": DECLINED,
    "invalid": frozenset({grpc.StatusCode.INVALID_ARGUMENT}),
    "denied": frozenset({grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED}),
    "exhausted": frozenset({grpc.StatusCode.RESOURCE_EXHAUSTED}),
    "unavailable": frozenset({grpc.StatusCode.UNAVAILABLE}),
    "deadline": frozenset({grpc.StatusCode.DEADLINE_EXCEEDED}),
    "cancelled": frozenset({grpc.StatusCode.CANCELLED}),
    "other": frozenset({grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL}),
}
"""What the table shows together."""


@dataclass
class Findings:
    """What was seen of all calls."""

    calls: int = 0
    outcomes: dict[str, Counter[grpc.StatusCode]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    """By server and method."""
    right: Counter[str] = field(default_factory=Counter)
    """Right requests that were answered OK, by server and method."""
    sorts: dict[str, Counter[grpc.StatusCode]] = field(default_factory=lambda: defaultdict(Counter))
    """By what kind of request it was, and what was altered."""
    faults: list[str] = field(default_factory=list)
    """What may not be, with all that is needed to look into it."""
    answered_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """How long calls took that could have waited, by server and method."""
    late_s: list[float] = field(default_factory=list)
    """How much later than their deadlines calls ended, but for what this process lost."""
    asked_again: int = 0
    """Calls with ample time that were not answered within it."""
    own_races: int = 0
    """Streams to which this process wrote when they had just ended; see docs/proof/fuzz.md."""

    def of_code(self, code: grpc.StatusCode) -> int:
        """How many calls ended with `code`."""
        return sum(codes[code] for codes in self.outcomes.values())

    @property
    def distinct_faults(self) -> list[str]:
        """One of each method and outcome."""
        found: dict[str, str] = {}
        for fault in self.faults:
            found.setdefault(" ".join(fault.split()[:5]), fault)
        return list(found.values())


def spread(values: Sequence[float]) -> dict[str, float]:
    """The middle, the tail and the worst of `values`, in seconds."""
    if not values:
        return {}
    ordered = sorted(values)
    at = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    return {
        name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)
        for name, share in at.items()
    }

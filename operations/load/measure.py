"""What a run of load saw: outcomes by reason and latency."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from paycore.client.errors import ClientError, RefusedError, TransportError

OK = "OK"
PERCENTILES = (50.0, 90.0, 99.0, 99.9)


def outcome_name(error: ClientError) -> str:
    """The reason, gRPC's code, or the class's name: what outcomes are counted under."""
    match error:
        case RefusedError(reason=reason):
            return reason.value
        case TransportError(code=code):
            return f"grpc {code.name}"
        case _:
            return type(error).__name__


@dataclass(slots=True)
class Measurement:
    """Outcomes per transfer; latency per request, in seconds, from its intended time."""

    outcomes: Counter[str] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)

    @property
    def transfers(self) -> int:
        return self.outcomes.total()

    def percentile_s(self, percent: float) -> float:
        """The latency that `percent` of requests stayed within; 0 without any (nearest rank)."""
        if not self.latencies_s:
            return 0.0
        ordered = sorted(self.latencies_s)
        rank = max(0, min(len(ordered) - 1, -(-len(ordered) * percent // 100) - 1))
        return ordered[int(rank)]

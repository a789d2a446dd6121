"""What this process has counted so far."""

from __future__ import annotations

from prometheus_client import REGISTRY


def counted(name: str, **labels: str) -> float:
    """The sample `name` with `labels`; 0 where there is none yet."""
    return REGISTRY.get_sample_value(name, labels) or 0.0

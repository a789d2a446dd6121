"""How far a sink is behind rises by itself, and is not known where another process feeds it."""

from __future__ import annotations

import math

from prometheus_client import REGISTRY

from projector.behind import Behind
from projector.metrics import SINKS
from projector.sinks.elastic import NAME as ELASTICSEARCH
from projector.sinks.seal import NAME as SEAL
from projector.sinks.stream import NAME as STREAM
from projector.sinks.webhooks import NAME as WEBHOOKS
from tests.support.clocks import ManualClock


def shown() -> float:
    value = REGISTRY.get_sample_value("paycore_projector_behind_seconds", {"sink": SEAL})
    assert value is not None
    return value


def test_it_rises_while_the_sink_stands_still() -> None:
    clock = ManualClock()
    behind = Behind(SEAL, clock)
    assert math.isnan(shown())
    behind.reached(clock.now_us())
    assert shown() == 0
    clock.at_s += 7.5
    assert shown() == 7.5
    behind.reached(clock.now_us() - 500_000)
    assert shown() == 0.5
    behind.not_leading()
    assert math.isnan(shown())


def test_the_sinks_that_metrics_name_are_those_there_are() -> None:
    assert sorted(SINKS) == sorted((ELASTICSEARCH, SEAL, STREAM, WEBHOOKS))

"""Work in the background that ends though it was to go on is told at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
import structlog
from prometheus_client import REGISTRY

from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.clock import SystemClock
from paycore.runtime.security_events import Event, Kind, Row, SecurityEvents
from paycore.runtime.untold import in_background, tell_of_fault


def counted(task: str) -> float:
    return REGISTRY.get_sample_value("paycore_untold_failures_total", {"task": task}) or 0.0


async def failing(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    "error", [RuntimeError("a fault"), PaycoreError(Reason.CONTENTION, "busy")]
)
async def test_a_background_task_that_fails_is_logged_and_counted(error: Exception) -> None:
    before = counted("watch")
    with structlog.testing.capture_logs() as lines:
        task = in_background(failing(error), "watch")
        await asyncio.wait([task])
        await asyncio.sleep(0)
    assert [(line["event"], line["task"], line["exc_info"]) for line in lines] == [
        ("task failed", "watch", error)
    ]
    assert counted("watch") - before == 1


async def test_one_that_is_cancelled_or_ends_is_not() -> None:
    before = counted("watch")
    with structlog.testing.capture_logs() as lines:
        slept = in_background(asyncio.sleep(60), "watch")
        await in_background(asyncio.sleep(0), "watch")
        slept.cancel()
        await asyncio.wait([slept])
        await asyncio.sleep(0)
    assert lines == []
    assert counted("watch") == before


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        ([PaycoreError(Reason.OVERLOADED, "full")], 0),
        ([PaycoreError(Reason.OVERLOADED, "full"), ValueError("a fault")], 1),
    ],
)
async def test_of_several_failures_one_that_is_no_refusal_is_a_fault(
    errors: list[Exception], told: int
) -> None:
    before = counted("group")
    task = asyncio.create_task(failing(ExceptionGroup("several", errors)), name="group")
    await asyncio.wait([task])
    tell_of_fault(task)
    assert counted("group") - before == told


class DefectiveSink:
    """A sink with a defect that ends some day."""

    def __init__(self) -> None:
        self.broken = True
        self.rows: list[Row] = []

    async def write(self, rows: Sequence[Row]) -> None:
        if self.broken:
            raise TypeError("a defect")
        self.rows += rows

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_defect_ends_neither_the_writing_of_events_nor_what_waits() -> None:
    sink = DefectiveSink()
    events = SecurityEvents(sink, SystemClock(), 0.01)
    with structlog.testing.capture_logs() as lines:
        events.start()
        events.note(Kind(Event.CALL_DENIED, "app", "/m", "why"))
        async with asyncio.timeout(50):
            while not lines:
                await asyncio.sleep(0.01)
        sink.broken = False
        async with asyncio.timeout(50):
            while not sink.rows:
                await asyncio.sleep(0.01)
        await events.stop()
    assert [row.kind.client for row in sink.rows] == ["app"]
    assert {line["event"] for line in lines} == {"security events wait"}

"""Evaluations whose callers have gone: they end, and a fault in one is told."""

from __future__ import annotations

import asyncio
import gc

import pytest
import structlog
from prometheus_client import REGISTRY

from paycore.domain.errors import PaycoreError, Reason
from signing_service.under_way import UnderWay


def counted() -> float:
    labels = {"task": "evaluation"}
    return REGISTRY.get_sample_value("paycore_untold_failures_total", labels) or 0.0


@pytest.mark.parametrize(
    ("error", "faults"),
    [
        (PaycoreError(Reason.PIN_INCORRECT, "no"), 0),
        (RuntimeError("a fault"), 1),
        (KeyError("another"), 1),
    ],
)
async def test_what_an_evaluation_comes_to_whose_caller_has_gone_is_told_where_it_is_a_fault(
    error: Exception, faults: int
) -> None:
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: complaints.append(context["message"])
    )
    under_way, before = UnderWay(), counted()
    began, may_end = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        await may_end.wait()
        raise error

    with structlog.testing.capture_logs() as lines:
        asked = asyncio.create_task(under_way.run(work()))
        await began.wait()
        asked.cancel()
        await asyncio.wait([asked])
        may_end.set()
        await under_way.drain()
        await asyncio.sleep(0)
        del asked
        gc.collect()
    asyncio.get_running_loop().set_exception_handler(None)
    assert [(line["event"], line["exc_info"]) for line in lines] == [
        ("task failed", error)
    ] * faults
    assert counted() - before == faults
    assert complaints == []


async def test_a_caller_that_stays_is_told_itself() -> None:
    async def work() -> None:
        raise RuntimeError("a fault")

    before = counted()
    with structlog.testing.capture_logs() as lines, pytest.raises(RuntimeError):
        await UnderWay().run(work())
    assert lines == []
    assert counted() == before

"""Failures that nobody would hear of: of tasks whose callers have gone, or that never had any."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

from paycore.domain.errors import PaycoreError
from paycore.runtime.metric_definitions import Named, counter

UNTOLD = counter(
    "paycore_untold_failures_total",
    "Tasks that failed and had nobody left to tell, by the task's name.",
    unit="tasks",
    labels={"task": Named("a task of the process, by the name that the code gives it")},
)

T = TypeVar("T")

log = structlog.get_logger()


def in_background(work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """`work` as a task that nobody awaits while it runs: should it fail, that is told at once."""
    task = asyncio.create_task(work, name=name)
    # There from the start, so that the first failure is seen to be one more.
    UNTOLD.labels(name)
    task.add_done_callback(tell_of_end)
    return task


def tell_of_end(task: asyncio.Task[Any]) -> None:
    """Log and count what ended `task`, whose work was to go on."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        _tell(task, error)


def tell_of_fault(task: asyncio.Task[Any]) -> None:
    """Look at what `task` came to, whose caller has gone: a refusal is no fault of ours."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not _is_refusal(error):
        _tell(task, error)


def _is_refusal(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_refusal, error.exceptions))
    return isinstance(error, PaycoreError)


def _tell(task: asyncio.Task[Any], error: BaseException) -> None:
    UNTOLD.labels(task.get_name()).inc()
    log.error("task failed", task=task.get_name(), exc_info=error)

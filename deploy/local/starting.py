"""Runs the steps of a start side by side, each after those that it needs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

from deploy.local.errors import StartCancelledError


def run_steps(
    steps: Mapping[str, Callable[[], None]],
    needs: Mapping[str, tuple[str, ...]],
    stop: Callable[[], None],
) -> None:
    """Run all `steps`, which come in an order in which needs come first, and return when all are
    done.

    One that fails cancels the others: those that have not begun do not begin, and `stop` must end
    what the others wait for. Raises what the first one raised that was not cancelled.
    """
    futures: dict[str, Future[None]] = {}
    cancelled = threading.Event()

    def run(name: str) -> None:
        for need in needs[name]:
            if need in futures and futures[need].exception() is not None:
                raise StartCancelledError(f"{name} needs {need}, which did not start")
        if cancelled.is_set():
            raise StartCancelledError(f"{name}: the start was cancelled")
        steps[name]()

    with ThreadPoolExecutor(len(steps) or 1, thread_name_prefix="stack-start") as pool:
        for name in steps:
            futures[name] = pool.submit(run, name)
        try:
            done, _ = wait(futures.values(), return_when=FIRST_EXCEPTION)
        finally:
            if not all(future.done() for future in futures.values()):
                cancelled.set()
                stop()
    errors = [error for future in done if (error := future.exception()) is not None]
    # One failure cancels the others: the cause is what a person must see.
    errors.sort(key=lambda error: isinstance(error, StartCancelledError))
    if errors:
        raise errors[0]

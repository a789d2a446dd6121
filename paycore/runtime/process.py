"""The frame of a service process: event loop, signals, exit code."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable

import structlog
import uvloop

log = structlog.get_logger()


def run(main: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    """Run `main` with an event that SIGTERM or SIGINT sets; returns the process's exit code.

    `main` starts the service, waits for the event, drains and returns. An exception out of it is
    logged and becomes exit code 1.
    """

    async def framed() -> int:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        try:
            await main(stop)
        except Exception:
            log.exception("process failed")
            return 1
        return 0

    # What start-up made lives as long as the process; young objects die with their call. Fewer
    # collections leave more time for calls.
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    return uvloop.run(framed())

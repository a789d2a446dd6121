"""Whether this process can give ids: health says so, since it can accept nothing without."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from paycore.runtime.snowflake import IdSource

LOOK_EVERY_S = 0.25

log = structlog.get_logger()


async def tell_of_ids(ids: IdSource, set_serving: Callable[[bool], Awaitable[None]]) -> None:
    """Have a process that is SERVING tell NOT_SERVING while no number is left for its clock.

    Runs until it is cancelled. A database that is away passes by itself, for all processes at once:
    it changes nothing here.
    """
    told = True
    while True:
        serving = ids.stranded is None
        if serving is not told:
            log.warning("ids again: serving" if serving else "no ids: not serving")
            await set_serving(serving)
            told = serving
        await asyncio.sleep(LOOK_EVERY_S)

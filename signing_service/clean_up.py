"""Removes recorded verdicts and used challenges once they are too old to be accepted anywhere."""

from __future__ import annotations

import asyncio

import structlog

from paycore.domain.errors import PaycoreError
from signing_service.metrics import REMOVED
from signing_service.store import Store

EVERY_S = 60.0
MARGIN_US = 5 * 60 * 1_000_000
"""More than the clocks of signing processes may differ: none may still find the proof fresh."""
BATCH = 1_000
MAX_BATCHES = 100
"""In one round; the rest waits for the next."""

log = structlog.get_logger()


async def keep_clean(store: Store) -> None:
    """Clean up now and then, until cancelled."""
    while True:
        try:
            await clean_up(store)
        except PaycoreError as error:
            log.warning("verdicts were not cleaned up", reason=error.reason.value)
        except Exception as error:
            # Whatever it was, the table must not grow for as long as the process lives.
            log.exception("verdicts were not cleaned up", error=type(error).__name__)
        await asyncio.sleep(EVERY_S)


async def clean_up(store: Store, margin_us: int = MARGIN_US) -> int:
    """Remove what is stale, in small transactions; returns how many. Raises PaycoreError."""
    total = 0
    for remove in (store.remove_stale, store.remove_spent_challenges):
        for _ in range(MAX_BATCHES):
            removed = await remove(margin_us, BATCH)
            REMOVED.inc(removed)
            total += removed
            if removed < BATCH:
                break
    return total

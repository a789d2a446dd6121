"""Deciding anew: how often a transaction is tried again, and what its callers hear at the end."""

from __future__ import annotations

import asyncio
import random

from paycore.domain.errors import PaycoreError, Reason

BACKOFF_S = (0.01, 0.02, 0.04, 0.08, 0.16)
"""Waits before a transaction is tried again, in seconds, each with as much jitter again."""


async def pause(wait_s: float) -> None:
    """Wait `wait_s` seconds, and up to as much again."""
    await asyncio.sleep(wait_s * (1 + random.random()))  # noqa: S311  # jitter


def contention() -> PaycoreError:
    """Others changed the accounts at every attempt; nothing was written."""
    return PaycoreError(Reason.CONTENTION, "the accounts are contended", retry_after_ms=50)


def database_unavailable() -> PaycoreError:
    """The database cannot be reached, or a commit's outcome is not known yet."""
    return PaycoreError(
        Reason.DATABASE_UNAVAILABLE,
        "the ledger cannot be reached; try again with the same key",
        retry_after_ms=250,
    )

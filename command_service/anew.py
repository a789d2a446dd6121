"""Deciding anew: how often a transaction is tried again, and what callers hear when it fails."""

from __future__ import annotations

import asyncio
import random
import secrets

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


def deadline_passed() -> PaycoreError:
    """The caller's deadline passed before anything was written, and nothing will be."""
    return PaycoreError(
        Reason.DEADLINE_EXCEEDED, "the deadline passed in the queue; nothing was done"
    )


def error_id() -> str:
    """A name for one failure, the same in its log line and in its callers' errors."""
    return secrets.token_hex(8)


def internal(named: str) -> PaycoreError:
    """A defect; `named` is its error id."""
    return PaycoreError(
        Reason.INTERNAL,
        f"the command could not be written: internal error {named}",
        {"error_id": named},
    )

"""A bounded pool of threads for hashing, which is slow on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import perf_counter
from typing import TypeVar

from paycore.domain.errors import PaycoreError, Reason
from signing_service.metrics import HASH_SECONDS, HASHING_CAPACITY, HASHING_DEPTH

HASH_MS = 25
"""About how long one hash takes, for the wait that is suggested when the pool is full."""

BUSY_HASHES = 3
"""Hashes waiting for each thread from which on nobody is kept from one by waiting for company."""

CROWD = 2
"""Calls for each thread that are worth waiting for then."""

T = TypeVar("T")


class HashingPool:
    """Threads suffice: argon2 runs without the interpreter's lock."""

    def __init__(self, threads: int, capacity: int) -> None:
        """`capacity` counts the calls that hold a place, hashing or about to."""
        self._threads = threads
        self._capacity = capacity
        self._held = 0
        self._hashing = 0
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="hashing")
        HASHING_CAPACITY.set(capacity)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place. Raises PaycoreError OVERLOADED when there is none.

        Taken before an attempt is reserved, so that no attempt is lost to a full pool.
        """
        if self._held >= self._capacity:
            raise PaycoreError(
                Reason.OVERLOADED,
                "the signing service is checking as many PINs as it can",
                {"limit": str(self._capacity)},
                retry_after_ms=max(HASH_MS, HASH_MS * self._capacity // self._threads),
            )
        self._held += 1
        HASHING_DEPTH.inc()
        try:
            yield
        finally:
            self._held -= 1
            HASHING_DEPTH.dec()

    def crowd(self) -> int:
        """For how many calls it is worth waiting, before their hashes or after: a round trip for
        several leaves the cores to the hashes, and while many wait for a thread it delays none."""
        waiting = self._hashing - self._threads
        return CROWD * self._threads if waiting >= BUSY_HASHES * self._threads else 1

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work`, done in a thread. The caller holds a place."""
        started = perf_counter()
        self._hashing += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._hashing -= 1
            HASH_SECONDS.observe(perf_counter() - started)

    def close(self) -> None:
        """Wait for the hashes under way and end the threads."""
        self._executor.shutdown(wait=True)

"""What argon2id alone allows: the bound of PINs a second, which no service can pass."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

from argon2.low_level import Type, hash_secret

from signing_service.pins import HASH_BYTES, LANES, MEMORY_KIB, PASSES, SALT_BYTES

THREADS = len(os.sched_getaffinity(0))
"""One for each core that this process may use: with them all cores do nothing but hash."""


def hashes_per_s(count: int) -> float:
    """The rate of `count` hashes with the signing service's own parameters, on all cores."""

    def work(_: int) -> None:
        hash_secret(b"p" * 32, b"s" * SALT_BYTES, PASSES, MEMORY_KIB, LANES, HASH_BYTES, Type.ID)

    with ThreadPoolExecutor(THREADS) as pool:
        began = time.perf_counter()
        for _ in pool.map(work, range(count)):
            pass
        return count / (time.perf_counter() - began)

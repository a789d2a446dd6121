"""Chance that can be repeated: every randomized test prints its seed."""

from __future__ import annotations

import os
import random
import secrets

SEED_VARIABLE = "PAYCORE_TEST_SEED"
"""Set to the seed that a failing test printed, to repeat it."""


def seeded(name: str) -> random.Random:
    """A source of chance for the test `name`; the seed it prints is shown when the test fails."""
    given = os.environ.get(SEED_VARIABLE)
    seed = secrets.randbits(32) if given is None else int(given)
    print(f"{name}: {SEED_VARIABLE}={seed}")
    return random.Random(seed)


def rounds(variable: str, default: int) -> int:
    """How often a randomized test repeats itself: the environment's word, or `default`."""
    return int(os.environ.get(variable, default))

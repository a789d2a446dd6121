"""Judges changes in the process that runs the tests, where these hold what no fork lives through.

A test that fails with the change runs once more without it: where it passes, nothing was left
behind, and the next change is judged in the same process. Where it does not, or where a test with a
change does not end, the process ends, and whoever started it starts another.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest

from tests.mutants.changes import End

EXIT_TOO_LONG = 81
"""The change that was being judged has no verdict: a test with it did not end."""
EXIT_UNCLEAN = 82
"""A change left something behind; those that have no verdict are to be judged elsewhere."""

LEAST_S = 10.0
TIMES_AS_LONG = 10
"""Bound on what one test may take: so many times what it takes without a change."""

SHOWN_S = 25.0
"""How many seconds of tests a change is shown to, the quick ones first."""

Pass = Callable[[str, pytest.Item], bool]
"""Whether a test passes with a change; without any where the name is empty."""


class Staying:
    """Judges one change after the other."""

    def __init__(self, passes: Pass, took_s: Mapping[pytest.Item, float]) -> None:
        """`took_s` is what each test takes without any change."""
        self._passes = passes
        self._took_s = took_s
        self._fresh = True
        self._unclean = False

    def judge(self, name: str, items: Sequence[pytest.Item]) -> tuple[End, str]:
        """How the change fared, and which of `items` saw it. May end the process."""
        if self._unclean:
            os._exit(EXIT_UNCLEAN)
        for item in self._shown(items):
            with _bounded(LEAST_S + TIMES_AS_LONG * self._took_s[item]):
                passed = self._passes(name, item)
                clean = passed or self._passes("", item)
            if not clean and not self._fresh:
                # It may be the fault of a change before: a process of its own will tell.
                os._exit(EXIT_UNCLEAN)
            if not passed:
                self._fresh, self._unclean = False, not clean
                return End.SEEN, item.nodeid
        self._fresh = False
        return End.LIVES, ""

    def _shown(self, items: Sequence[pytest.Item]) -> Iterator[pytest.Item]:
        left_s = SHOWN_S
        for item in items:
            if left_s < 0:
                return
            left_s -= self._took_s[item]
            yield item


@contextmanager
def _bounded(limit_s: float) -> Iterator[None]:
    """End the process after `limit_s`: what runs may not listen to anything milder."""
    timer = threading.Timer(limit_s, os._exit, (EXIT_TOO_LONG,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()

"""Judges changes in the process that runs the tests, where these hold what no fork lives through.

A test that fails with the change runs once more without it, and where it passes, so that nothing
was left behind, with it again: what fails then too has seen the change, and the next is judged in
the same process. Where it fails without the change, or does not end, the process ends, and whoever
started it starts another. Only in a process that has judged nothing before is that the change's.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest

from tests.mutants.changes import End

EXIT_TOO_LONG = 81
"""A test with the change that was being judged did not end; it has no line in the report."""
EXIT_UNCLEAN = 82
"""A change left something behind; those that have no verdict are to be judged elsewhere."""

LEAST_S = 8.0
TIMES_AS_LONG = 10
"""Bound on what one test may take: so many times what it takes without a change, thrice."""

SHOWN_S = 60.0
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
            limit_s = LEAST_S + TIMES_AS_LONG * self._took_s[item]
            with _bounded(limit_s, EXIT_TOO_LONG if self._fresh else EXIT_UNCLEAN):
                passed = self._passes(name, item)
                clean = passed or self._passes("", item)
                # Some wait for what takes its time on a busy machine: one failure shows little.
                passed = passed or (clean and self._passes(name, item))
            if not clean and not self._fresh:
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
def _bounded(limit_s: float, code: int) -> Iterator[None]:
    """End the process with `code` after `limit_s`: what runs may not listen to anything milder."""
    timer = threading.Timer(limit_s, os._exit, (code,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()

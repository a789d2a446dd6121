"""Processor time by part: where the machine's cores went."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Positions after the command name in /proc/PID/stat, proc(5): user, system, and both of ended
# children that were waited for.
_TIMES = slice(11, 15)

GENERATOR = "load generator"

Pids = Callable[[], Mapping[str, tuple[int, ...]]]


class Meter:
    """Measures the processor time that each part takes between `start` and `per`."""

    def __init__(self, pids: Pids) -> None:
        """`pids` tells the processes of each part now."""
        self._pids = pids
        self._before: dict[str, float] = {}

    def start(self) -> None:
        self._before = self._read()

    def per(self, count: int) -> dict[str, float]:
        """Microseconds by part since `start`, divided by `count`; parts below 1 are left out."""
        now = self._read()
        spent = {
            part: (seconds - self._before.get(part, 0.0)) * 1e6 / count
            for part, seconds in now.items()
        }
        return {part: each for part, each in spent.items() if each >= 1.0}

    def _read(self) -> dict[str, float]:
        times = os.times()
        # Children that were waited for are load generators; the stack's parts live on.
        own = times.user + times.system + times.children_user + times.children_system
        parts = {
            part: sum(_seconds(pid) for pid in pids) for part, pids in self._pids().items() if pids
        }
        return {GENERATOR: own, **parts}


def _seconds(pid: int) -> float:
    """Processor time of a process and of its ended children; zero when it is gone."""
    try:
        content = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    fields = content[content.rindex(")") + 2 :].split()
    return sum(int(field) for field in fields[_TIMES]) / _TICKS_PER_S

"""Calls at a constant rate that nothing holds up, and what became of each.

A call's latency counts from the moment at which it was due, whenever it was sent: what a stall of
the system, or of this process, delays is as late as its caller would have seen it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.bench.figures import percentile

NOT_SENT = "NOT_SENT"
"""What is due while too many calls are under way, or cannot be sent while the load lasts, is left
out, and counted as this."""


OVERDUE_S = 1.0


class Seen(NamedTuple):
    """One call."""

    kind: str
    due_s: float
    """Since the load began."""
    took_s: float
    """From when it was due to its end."""
    trouble: str
    """Why there was no answer; empty where there was one, be it a decline."""


class Call(NamedTuple):
    """A call to be made: it returns what trouble it had, or nothing."""

    kind: str
    make: Callable[[], Awaitable[str]]


@dataclass
class Measured:
    """What a load saw."""

    calls: list[Seen] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)
    """By how much each call was sent later than it was due: this process's own doing."""
    took_s: float = 0.0
    most_under_way: int = 0

    @property
    def kinds(self) -> list[str]:
        return sorted({one.kind for one in self.calls})

    @property
    def troubles(self) -> Counter[tuple[str, str]]:
        """By kind and reason."""
        return Counter((one.kind, one.trouble) for one in self.calls if one.trouble)

    @property
    def answered(self) -> int:
        return sum(not one.trouble for one in self.calls)

    def latencies_s(self, kind: str | None = None) -> list[float]:
        """Of answered calls, sorted."""
        return sorted(
            one.took_s
            for one in self.calls
            if not one.trouble and (kind is None or one.kind == kind)
        )

    def late(self, percent: float) -> float:
        """The lateness that so many of the calls stayed within, in seconds."""
        return percentile(sorted(self.late_s), percent) if self.late_s else 0.0


async def at_rate(
    rate_per_s: float,
    seconds: float,
    due: Callable[[], Call],
    most_under_way: int,
    measured: Measured,
    *,
    from_s: float = 0.0,
) -> None:
    """Make a call of `due` every 1/`rate_per_s` for `seconds`; returns when the last has ended.

    What could not be sent by OVERDUE_S after the end is not sent any more. Every call must end by
    itself. `from_s` is what the first one's due time is noted as.
    """
    began_s = time.perf_counter()
    under_way: set[asyncio.Task[None]] = set()

    async def one(call: Call, due_s: float) -> None:
        measured.late_s.append(time.perf_counter() - began_s - due_s)
        trouble = await call.make()
        took_s = time.perf_counter() - began_s - due_s
        measured.calls.append(Seen(call.kind, from_s + due_s, took_s, trouble))

    async with asyncio.TaskGroup() as group:
        number = 0
        while (due_s := number / rate_per_s) < seconds:
            number += 1
            await asyncio.sleep(max(0.0, began_s + due_s - time.perf_counter()))
            call = due()
            late_s = time.perf_counter() - began_s - seconds
            if len(under_way) >= most_under_way or late_s > OVERDUE_S:
                measured.calls.append(Seen(call.kind, from_s + due_s, 0.0, NOT_SENT))
                continue
            task = group.create_task(one(call, due_s))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            measured.most_under_way = max(measured.most_under_way, len(under_way))
    measured.took_s += time.perf_counter() - began_s


class Window(NamedTuple):
    """A stretch of a load."""

    from_s: float
    calls: int
    troubled: int
    p50_s: float
    p99_s: float


def windows(calls: Iterable[Seen], every_s: float) -> list[Window]:
    """By stretches of `every_s`, sorted by time; where no call was answered latency is infinite."""
    parts: dict[int, list[Seen]] = {}
    for one in calls:
        parts.setdefault(int(one.due_s // every_s), []).append(one)
    found = []
    for number, some in sorted(parts.items()):
        took = sorted(one.took_s for one in some if not one.trouble) or [float("inf")]
        troubled = sum(bool(one.trouble) for one in some)
        p50_s, p99_s = percentile(took, 50), percentile(took, 99)
        found.append(Window(number * every_s, len(some), troubled, p50_s, p99_s))
    return found


def spread_ms(ordered: Sequence[float]) -> list[str]:
    """p50, p90, p99, p99.9 and the worst of sorted times in seconds, as milliseconds."""
    if not ordered:
        return ["."] * 5
    return [f"{percentile(ordered, at) * 1_000:,.0f}" for at in (50, 90, 99, 99.9, 100)]

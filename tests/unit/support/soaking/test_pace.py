"""Calls are due at a constant rate, and late from when they were due."""

from __future__ import annotations

import asyncio
import itertools
import time

from tests.support.soaking.pace import NOT_SENT, Call, Measured, Seen, at_rate, windows


async def test_a_stall_shows_in_each_call_that_it_delays() -> None:
    """A system that answers nobody for its first half second: a caller that waited for its answer
    before it sent the next would have seen one late call."""
    opens = asyncio.Event()

    async def make() -> str:
        await opens.wait()
        return ""

    async def open_later() -> None:
        await asyncio.sleep(0.5)
        opens.set()

    measured = Measured()
    opening = asyncio.create_task(open_later())
    await at_rate(40, 1.0, lambda: Call("single", make), 100, measured)
    await opening
    assert len(measured.calls) == 40
    late = [one for one in measured.calls if one.due_s < 0.45]
    assert len(late) == 18
    for one in late:
        assert one.took_s >= 0.5 - one.due_s - 0.01


async def test_what_is_sent_late_is_late_from_when_it_was_due() -> None:
    """This process itself stalls: no call began, and yet they are late."""
    first = itertools.count()

    async def make() -> str:
        return ""

    def due() -> Call:
        if next(first) == 1:
            # The process that makes the load stands still: its own lateness is told apart.
            time.sleep(0.3)
        return Call("single", make)

    measured = Measured()
    await at_rate(20, 0.5, due, 100, measured)
    assert max(one.took_s for one in measured.calls) >= 0.25
    assert measured.late(100) >= 0.25


async def test_beyond_the_most_under_way_nothing_is_sent_and_each_is_counted() -> None:
    over, sent = asyncio.Event(), itertools.count(1)

    async def make() -> str:
        await over.wait()
        return ""

    def due() -> Call:
        if next(sent) == 20:
            over.set()
        return Call("single", make)

    measured = Measured()
    await at_rate(100, 0.2, due, 5, measured)
    assert measured.troubles == {("single", NOT_SENT): 15}
    assert measured.most_under_way == 5
    assert len(measured.latencies_s()) == measured.answered == 5


def test_windows_are_of_answered_calls_and_count_the_others() -> None:
    calls = [
        Seen("a", 0.5, 0.1, ""),
        Seen("a", 0.6, 9.0, "LATE"),
        Seen("a", 2.1, 0.3, ""),
        Seen("a", 3.0, 0.1, "LATE"),
    ]
    never = float("inf")
    assert windows(calls, 1.0) == [
        (0.0, 2, 1, 0.1, 0.1),
        (2.0, 1, 0, 0.3, 0.3),
        (3.0, 1, 1, never, never),
    ]

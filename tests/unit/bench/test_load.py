"""Closed loops and constant rates."""

from __future__ import annotations

import asyncio

import pytest

from tests.bench.errors import BenchError
from tests.bench.load import closed_loops, constant_rate, shared_loops


async def test_each_closed_loop_sends_its_own_requests_one_after_the_other() -> None:
    under_way: dict[bytes, int] = {b"a": 0, b"b": 0}

    async def call(request: bytes) -> bytes:
        caller = request[:1]
        under_way[caller] += 1
        assert under_way[caller] == 1
        await asyncio.sleep(0)
        under_way[caller] -= 1
        return request

    taken = await closed_loops(call, [[b"a1", b"a2"], [b"b1"]])
    assert sorted(taken.replies) == [b"a1", b"a2", b"b1"]
    assert len(taken.latencies_s) == 3


async def test_shared_loops_send_every_request_once_with_so_many_at_a_time() -> None:
    sent: list[bytes] = []
    most = under_way = 0

    async def call(request: bytes) -> bytes:
        nonlocal most, under_way
        sent.append(request)
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return b""

    requests = [bytes([number]) for number in range(20)]
    await shared_loops(call, requests, 3)
    assert sorted(sent) == requests
    assert most == 3


async def test_a_stall_counts_in_every_call_that_it_delays() -> None:
    """No coordinated omission: the calls behind the stall were due while it lasted."""
    free_at = asyncio.get_running_loop().time() + 0.2

    async def call(request: bytes) -> bytes:
        await asyncio.sleep(max(0.0, free_at - asyncio.get_running_loop().time()))
        return request

    taken = await constant_rate(call, [b""] * 10, 100.0, 100)
    slow = sorted(taken.latencies_s, reverse=True)
    # Sent every 10 ms from 0 to 90 ms, all answered at 200 ms.
    assert slow[0] >= 0.19
    assert slow[-1] >= 0.1


async def test_a_rate_that_is_not_kept_is_refused() -> None:
    async def call(request: bytes) -> bytes:
        await asyncio.sleep(10)
        return request

    with pytest.raises(BenchError, match="3 calls were under way"):
        await constant_rate(call, [b""] * 10, 1_000.0, 3)

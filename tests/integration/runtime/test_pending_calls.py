"""Calls that come while a process is busy wait for it: none is dropped without a word.

gRPC's core drops calls that wait to be taken up with a bare CANCELLED, some beyond 1,000 and all
beyond 3,000. Callers could tell it neither from their own doing nor from a server that has ended.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import grpc
import pytest

from paycore.runtime.server import OPTIONS

PATH = "/busy/Answer"
CALLS = 4_000
BUSY_S = 3.0
TIMEOUT_S = 60.0


class Busy(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    """Answers everything, and is busy with its first call for a while."""

    def __init__(self) -> None:
        self.called = 0

    def service(self, _: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._answer)

    async def _answer(self, request: bytes, _: object) -> bytes:
        self.called += 1
        if self.called == 1:
            # As anything that takes the event loop.
            time.sleep(BUSY_S)  # noqa: ASYNC251
        return request


def ask(target: str) -> Counter[grpc.StatusCode]:
    """What becomes of CALLS at once, by a caller whose threads are not the busy one's."""
    with grpc.insecure_channel(target) as channel:
        grpc.channel_ready_future(channel).result(TIMEOUT_S)
        untyped: Any = channel
        call = untyped.unary_unary(PATH)
        futures = [call.future(b"", timeout=TIMEOUT_S) for _ in range(CALLS)]
        return Counter(future.code() for future in futures)


@pytest.mark.parametrize(
    ("options", "dropped"), [(OPTIONS, False), ((("grpc.so_reuseport", 1),), True)]
)
async def test_calls_wait_for_a_busy_process(
    options: tuple[tuple[str, int], ...], dropped: bool
) -> None:
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers((Busy(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    codes = await asyncio.to_thread(ask, f"127.0.0.1:{port}")
    await server.stop(0)
    assert codes.total() == CALLS
    assert codes.keys() <= {grpc.StatusCode.OK, grpc.StatusCode.CANCELLED}
    assert bool(codes[grpc.StatusCode.CANCELLED]) is dropped, codes

"""INTERNAL that no server answered: grpc.aio says it of its own write to a call that has ended.

Where a server ends a stream while the caller still writes, the write fails in the caller's own
core, and `grpc.aio` gives the call a status of its own (`StreamRequestMixin._write`, which calls
`set_internal_error`): INTERNAL, "Internal error from Core". The status that came over the wire is
lost to whoever asks. The fuzz takes exactly that for no fault of a service, and counts INTERNAL
where services count it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from tests.support.fuzzing.calls import made_by_caller

AT_ONCE = 16
MOST_ROUNDS = 100
MESSAGES = 50
MESSAGE = b"x" * 1_000
PATH = "/race/Refused"


class Refusing(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    """Ends every stream at once, and counts what it was ended with."""

    def __init__(self) -> None:
        self.ended: Counter[grpc.StatusCode] = Counter()

    def service(self, _: grpc.HandlerCallDetails) -> Any:
        return grpc.stream_stream_rpc_method_handler(self._refuse)

    async def _refuse(self, _: object, context: Any) -> None:
        self.ended[grpc.StatusCode.FAILED_PRECONDITION] += 1
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "refused")


@asynccontextmanager
async def refusing() -> AsyncIterator[tuple[Refusing, str]]:
    handler, server = Refusing(), grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield handler, f"127.0.0.1:{port}"
    await server.stop(0)


async def messages() -> AsyncIterator[bytes]:
    for _ in range(MESSAGES):
        yield MESSAGE


async def refused(channel: Any) -> grpc.aio.AioRpcError:
    """How grpc.aio tells of a stream that was refused."""
    try:
        async for _ in channel.stream_stream(PATH)(messages(), timeout=30):
            pass
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("the stream was not refused")


async def test_a_caller_that_writes_to_a_refused_stream_hears_internal_of_itself_alone() -> None:
    heard: Counter[grpc.StatusCode] = Counter()
    async with refusing() as (handler, target), grpc.aio.insecure_channel(target) as channel:
        for _ in range(MOST_ROUNDS):
            for error in await asyncio.gather(*(refused(channel) for _ in range(AT_ONCE))):
                heard[error.code()] += 1
                assert made_by_caller(error) is (error.code() is grpc.StatusCode.INTERNAL), error
            if heard[grpc.StatusCode.INTERNAL]:
                break
    assert heard[grpc.StatusCode.INTERNAL], heard
    assert set(handler.ended) == {grpc.StatusCode.FAILED_PRECONDITION}
    assert handler.ended.total() == heard.total()


async def test_a_blocking_caller_hears_of_the_same_server_what_it_said() -> None:
    def blocking(target: str) -> Counter[grpc.StatusCode]:
        def sent() -> Iterator[bytes]:
            for _ in range(MESSAGES):
                yield MESSAGE

        heard: Counter[grpc.StatusCode] = Counter()
        with grpc.insecure_channel(target) as channel:
            untyped: Any = channel
            for _ in range(AT_ONCE):
                call = untyped.stream_stream(PATH)(sent(), timeout=30)
                heard[call.code()] += 1
        return heard

    async with refusing() as (_, target):
        heard = await asyncio.to_thread(blocking, target)
    assert heard == {grpc.StatusCode.FAILED_PRECONDITION: AT_ONCE}


async def test_internal_that_a_server_answers_is_not_taken_for_the_caller_s_own() -> None:
    class Failing(grpc.GenericRpcHandler):  # type: ignore[type-arg]
        def service(self, _: grpc.HandlerCallDetails) -> Any:
            return grpc.stream_stream_rpc_method_handler(self._fail)

        async def _fail(self, requests: Any, context: Any) -> None:
            async for _ in requests:
                pass
            # In the very words.
            await context.abort(grpc.StatusCode.INTERNAL, "Internal error from Core")

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Failing(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        error = await refused(channel)
    await server.stop(0)
    assert error.code() is grpc.StatusCode.INTERNAL
    assert not made_by_caller(error)

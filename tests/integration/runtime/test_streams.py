"""What the gate does for streams, whatever handler stands behind it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from prometheus_client import REGISTRY

from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.channel import open_channel
from paycore.runtime.errors import from_rpc_error
from paycore.runtime.server import Call, Server
from paycore.runtime.settings import ServiceSettings
from paycore.v1 import transfer_pb2, transfer_service_pb2, transfer_service_pb2_grpc

SERVICE = transfer_service_pb2.DESCRIPTOR.services_by_name["TransferService"]
METHOD = "paycore.v1.TransferService/StreamTransfers"
END: object = grpc.aio.EOF  # type: ignore[attr-defined]  # stubs lack it

Request = transfer_service_pb2.StreamTransfersRequest
Reply = transfer_service_pb2.StreamTransfersResponse
Handler = Callable[[AsyncIterator[Request], Call], AsyncIterator[Reply]]


def said(text: str) -> Reply:
    return Reply(outcomes=[transfer_pb2.TransferOutcome(idempotency_key=text)])


def asked(text: str) -> Request:
    one = transfer_service_pb2.SubmitTransferRequest(idempotency_key=text)
    return Request(transfers=[one])


async def echo(requests: AsyncIterator[Request], _: Call) -> AsyncIterator[Reply]:
    async for request in requests:
        yield said(request.transfers[0].idempotency_key)


@asynccontextmanager
async def serving(folder: Path, handler: Handler) -> AsyncIterator[tuple[Server, Any]]:
    """A server of `handler`, and its method on a channel."""
    access = folder / "access.toml"
    access.write_text(f'[clients.anonymous]\nmethods = ["{METHOD}"]\n')
    settings = ServiceSettings(
        environment="local",
        listen="127.0.0.1:0",
        metrics_listen="127.0.0.1:1",
        insecure=True,
        access_file=access,
        shutdown_grace_s=5.0,
    )
    server = Server(settings)
    methods = {one.name: None for one in SERVICE.methods}
    server.add(SERVICE, [SimpleNamespace(**{**methods, "StreamTransfers": handler})])
    port = await server.start()
    try:
        async with open_channel(f"127.0.0.1:{port}", None, service="command") as channel:
            yield server, transfer_service_pb2_grpc.TransferServiceStub(channel).StreamTransfers
    finally:
        await server.stop(0)


async def keys(stream: Any) -> list[str]:
    """What is read until the stream ends well."""
    found = []
    while (reply := await stream.read()) is not END:
        found.append(reply.outcomes[0].idempotency_key)
    return found


async def end_of(stream: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await keys(stream)
    error = from_rpc_error(caught.value)
    return caught.value.code(), "" if error is None else error.reason.value


def counted(reason: str) -> float:
    labels = {"method": METHOD, "reason": reason}
    return REGISTRY.get_sample_value("paycore_calls_total", labels) or 0.0


async def test_requests_and_replies_come_one_by_one_without_a_deadline(tmp_path: Path) -> None:
    before = counted("OK")
    async with serving(tmp_path, echo) as (_, method):
        stream = method()
        for text in ("a", "b"):
            await stream.write(asked(text))
            assert (await stream.read()).outcomes[0].idempotency_key == text
        await stream.done_writing()
        assert await keys(stream) == []
    assert counted("OK") == before + 1


async def test_a_refusal_ends_the_stream_after_what_was_said(tmp_path: Path) -> None:
    async def refuse(requests: AsyncIterator[Request], _: Call) -> AsyncIterator[Reply]:
        await anext(requests)
        yield said("first")
        raise PaycoreError(Reason.RATE_LIMITED, "for the test", retry_after_ms=7)

    async with serving(tmp_path, refuse) as (_, method):
        stream = method()
        await stream.write(asked("a"))
        assert (await stream.read()).outcomes[0].idempotency_key == "first"
        assert await end_of(stream) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")


async def test_what_is_unforeseen_tells_only_its_error_id(tmp_path: Path) -> None:
    async def fail(requests: AsyncIterator[Request], _: Call) -> AsyncIterator[Reply]:
        async for request in requests:
            if request.transfers:
                raise RuntimeError("a secret")
            yield said("never")

    async with serving(tmp_path, fail) as (_, method):
        stream = method()
        await stream.write(asked("a"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await keys(stream)
    error = from_rpc_error(caught.value)
    assert error is not None
    assert error.reason is Reason.INTERNAL
    assert error.metadata["error_id"] in error.message
    assert "secret" not in f"{caught.value}"


async def test_the_handler_of_a_caller_that_goes_away_is_ended(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def wait(requests: AsyncIterator[Request], _: Call) -> AsyncIterator[Reply]:
        try:
            async for _request in requests:
                yield said("read")
        finally:
            ended.set()

    async with serving(tmp_path, wait) as (_, method):
        stream = method()
        await stream.write(asked("a"))
        await stream.read()
        stream.cancel()
        async with asyncio.timeout(60):
            await ended.wait()


async def test_draining_ends_the_requests_and_waits_for_what_was_read(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def slowly(requests: AsyncIterator[Request], _: Call) -> AsyncIterator[Reply]:
        read = [request async for request in requests]
        await go_on.wait()
        for request in read:
            yield said(request.transfers[0].idempotency_key)

    async with serving(tmp_path, slowly) as (server, method):
        stream, idle = method(), method()
        for text in ("a", "b"):
            await stream.write(asked(text))
        await idle.write(asked("idle"))
        await asyncio.sleep(0.2)
        stopping = asyncio.create_task(server.stop(5))
        await asyncio.sleep(0.2)
        await stream.write(asked("not read"))
        assert not stopping.done()
        go_on.set()
        heard = [(await stream.read()).outcomes[0].idempotency_key for _ in range(2)]
        assert heard == ["a", "b"]
        for one in (stream, idle):
            if one is idle:
                await one.read()
            assert await end_of(one) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
        began = time.monotonic()
        await stopping
        assert time.monotonic() - began < 4


async def test_a_stream_that_begins_while_draining_is_told_so(tmp_path: Path) -> None:
    async with serving(tmp_path, echo) as (server, method):
        server._gate.drain()
        stream = method()
        assert await end_of(stream) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")


async def test_stopping_returns_when_the_handlers_that_it_cut_off_have_ended(
    tmp_path: Path,
) -> None:
    ended = False

    async def stubborn(requests: AsyncIterator[Request], _: Call) -> AsyncIterator[Reply]:
        nonlocal ended
        try:
            await anext(requests)
            await asyncio.sleep(60)
            yield said("never")
        finally:
            # As one that rolls its transaction back.
            await asyncio.sleep(0.3)
            ended = True

    async with serving(tmp_path, stubborn) as (server, method):
        stream = method()
        await stream.write(asked("a"))
        await asyncio.sleep(0.2)
        await server.stop(0.1)
        assert ended


async def test_nothing_is_left_when_streams_have_ended(tmp_path: Path) -> None:
    async with serving(tmp_path, echo) as (_, method):
        stream = method()
        await stream.write(asked("a"))
        await stream.read()
        stream.cancel()
        await asyncio.sleep(0.2)
        before = len(asyncio.all_tasks())
        for number in range(50):
            stream = method()
            await stream.write(asked("a"))
            await stream.read()
            if number % 2:
                stream.cancel()
            else:
                await stream.done_writing()
                await keys(stream)
        async with asyncio.timeout(60):
            while len(asyncio.all_tasks()) > before:
                await asyncio.sleep(0.01)

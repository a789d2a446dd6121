"""What the gate does for replies that go on, whatever handler stands behind it."""

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
from paycore.v1 import history_service_pb2, history_service_pb2_grpc

SERVICE = history_service_pb2.DESCRIPTOR.services_by_name["HistoryService"]
METHOD = "paycore.v1.HistoryService/WatchTransfers"
END: object = grpc.aio.EOF  # type: ignore[attr-defined]  # stubs lack it

Request = history_service_pb2.WatchTransfersRequest
Reply = history_service_pb2.WatchTransfersResponse
Handler = Callable[[Request, Call], AsyncIterator[Reply]]


async def count(_: Request, call: Call) -> AsyncIterator[Reply]:
    number = 0
    while True:
        number += 1
        yield Reply(resume_token=f"{call.client} {number}")
        await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(
    folder: Path, handler: Handler, age_s: float = 600.0
) -> AsyncIterator[tuple[Server, Any]]:
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
        connection_age_s=age_s,
    )
    server = Server(settings)
    methods = {one.name: None for one in SERVICE.methods}
    server.add(SERVICE, [SimpleNamespace(**{**methods, "WatchTransfers": handler})])
    port = await server.start()
    try:
        async with open_channel(f"127.0.0.1:{port}", None, service="query") as channel:
            yield server, history_service_pb2_grpc.HistoryServiceStub(channel).WatchTransfers
    finally:
        await server.stop(0)


async def tokens(stream: Any) -> list[str]:
    """What is read until the stream ends well."""
    found = []
    while (reply := await stream.read()) is not END:
        found.append(reply.resume_token)
    return found


async def end_of(stream: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await tokens(stream)
    error = from_rpc_error(caught.value)
    return caught.value.code(), "" if error is None else error.reason.value


def counted(reason: str) -> float:
    labels = {"method": METHOD, "reason": reason}
    return REGISTRY.get_sample_value("paycore_calls_total", labels) or 0.0


def open_streams() -> float:
    return REGISTRY.get_sample_value("paycore_streams", {"method": METHOD}) or 0.0


async def test_a_watch_needs_no_deadline_and_ends_well_after_its_time(tmp_path: Path) -> None:
    before = counted("OK")
    async with serving(tmp_path, count, age_s=1.0) as (_, method):
        started = time.monotonic()
        found = await tokens(method(Request()))
        lasted_s = time.monotonic() - started
    assert found[:2] == ["anonymous 1", "anonymous 2"]
    # A fifth shorter at most, and on a busy machine later told of.
    assert 0.75 < lasted_s < 10.0
    assert counted("OK") == before + 1
    assert open_streams() == 0


async def test_a_draining_server_ends_its_watches_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path, count) as (server, method):
        streams = [method(Request()) for _ in range(5)]
        for stream in streams:
            await stream.read()
        started = time.monotonic()
        stopping = asyncio.create_task(server.stop())
        for stream in streams:
            assert await end_of(stream) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
        await stopping
        assert time.monotonic() - started < 4.0
    assert open_streams() == 0


async def test_a_watch_whose_first_reply_is_on_its_way_is_told_too(tmp_path: Path) -> None:
    stopping: list[asyncio.Task[None]] = []

    async def first(_: Request, __: Call) -> AsyncIterator[Reply]:
        # It is the next that the event loop does, and comes before what is written has gone out.
        stopping.append(asyncio.create_task(server.stop()))
        yield Reply(resume_token="1")
        await asyncio.sleep(60)

    async with serving(tmp_path, first) as (server, method):
        started = time.monotonic()
        assert await end_of(method(Request())) == (
            grpc.StatusCode.UNAVAILABLE,
            "SHUTTING_DOWN",
        )
        await asyncio.gather(*stopping)
        assert time.monotonic() - started < 4.0
    assert open_streams() == 0


async def test_a_watcher_that_does_not_read_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async def flood(_: Request, __: Call) -> AsyncIterator[Reply]:
        while True:
            yield Reply(resume_token="x" * 100_000)

    async with serving(tmp_path, flood, age_s=1.0) as (server, method):
        stream = method(Request())
        await stream.read()
        async with asyncio.timeout(60):
            while open_streams():
                await asyncio.sleep(0.05)
        # What was on its way is there, and then the end.
        assert len(await tokens(stream)) < 1_000
        stuck = method(Request())
        await stuck.read()
        started = time.monotonic()
        await server.stop()
        assert time.monotonic() - started < 8.0
    assert open_streams() == 0


async def test_what_a_handler_refuses_ends_the_watch_with_its_reason(tmp_path: Path) -> None:
    async def refuse(_: Request, __: Call) -> AsyncIterator[Reply]:
        yield Reply(resume_token="first")
        raise PaycoreError(
            Reason.WATCHER_BEHIND, "for the test", {"resume_token": "first"}, retry_after_ms=7
        )

    async with serving(tmp_path, refuse) as (_, method):
        stream = method(Request())
        assert (await stream.read()).resume_token == "first"
        assert await end_of(stream) == (grpc.StatusCode.ABORTED, "WATCHER_BEHIND")


async def test_a_time_out_of_the_handlers_own_is_unforeseen(tmp_path: Path) -> None:
    async def late(_: Request, __: Call) -> AsyncIterator[Reply]:
        yield Reply(resume_token="first")
        raise TimeoutError("a secret")

    async with serving(tmp_path, late) as (_, method):
        assert await end_of(method(Request())) == (grpc.StatusCode.INTERNAL, "INTERNAL")


async def test_a_caller_that_goes_ends_the_handler(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def tell(_: Request, __: Call) -> AsyncIterator[Reply]:
        try:
            while True:
                yield Reply(resume_token="x")
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    async with serving(tmp_path, tell) as (_, method):
        stream = method(Request())
        await stream.read()
        stream.cancel()
        async with asyncio.timeout(60):
            await ended.wait()

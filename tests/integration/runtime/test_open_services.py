"""Where gRPC's own services fail, callers, counts and the log hear of it as everywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import REGISTRY

from paycore.domain.errors import Reason
from paycore.runtime.access import AccessTable
from paycore.runtime.clock import SystemClock
from paycore.runtime.errors import from_rpc_error
from paycore.runtime.gate import Gate
from paycore.runtime.open_services import OpenServices

CANARY = "canary-4711"
REQUEST = health_pb2.HealthCheckRequest()


class FailingHealth(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # untyped
    """Fails at every question."""

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802  # the contract's name
        raise RuntimeError(CANARY)

    async def Watch(self, request: Any, context: Any) -> Any:  # noqa: N802
        await context.write(health_pb2.HealthCheckResponse())
        raise RuntimeError(CANARY)


class FailingReflection(reflection_pb2_grpc.ServerReflectionServicer):  # type: ignore[misc]
    """Answers once, and fails."""

    async def ServerReflectionInfo(self, requests: Any, context: Any) -> Any:  # noqa: N802
        async for _ in requests:
            yield reflection_pb2.ServerReflectionResponse()
            raise RuntimeError(CANARY)


@pytest.fixture
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    server = grpc.aio.server()
    gate = Gate(AccessTable(), None, SystemClock(), insecure=True, longest_call_s=60.0)
    services: Any = OpenServices(server, gate)
    health_pb2_grpc.add_HealthServicer_to_server(FailingHealth(), services)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(FailingReflection(), services)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened
    await server.stop(0)


def failures(method: str) -> float:
    labels = {"method": method, "reason": Reason.INTERNAL.value}
    return REGISTRY.get_sample_value("paycore_calls_total", labels) or 0.0


async def check(channel: grpc.aio.Channel) -> None:
    await health_pb2_grpc.HealthStub(channel).Check(REQUEST, timeout=10)


async def watch(channel: grpc.aio.Channel) -> None:
    async for _ in health_pb2_grpc.HealthStub(channel).Watch(REQUEST, timeout=10):
        pass


async def reflect(channel: grpc.aio.Channel) -> None:
    untyped: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    async for _ in untyped.ServerReflectionInfo(asked, timeout=10):
        pass


@pytest.mark.parametrize(
    ("ask", "method"),
    [
        (check, "grpc.health.v1.Health/Check"),
        (watch, "grpc.health.v1.Health/Watch"),
        (reflect, "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"),
    ],
)
async def test_what_nobody_foresaw_is_internal_counted_and_logged(
    channel: grpc.aio.Channel, ask: Any, method: str
) -> None:
    before = failures(method)
    with structlog.testing.capture_logs() as lines, pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(channel)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    error = from_rpc_error(caught.value)
    assert error is not None
    assert error.reason is Reason.INTERNAL
    assert CANARY not in str(caught.value)
    assert failures(method) == before + 1
    (failed,) = [line for line in lines if line["log_level"] == "error"]
    assert failed["error_id"] == error.metadata["error_id"]


async def test_what_is_not_implemented_is_no_fault(channel: grpc.aio.Channel) -> None:
    with structlog.testing.capture_logs() as lines, pytest.raises(grpc.aio.AioRpcError) as caught:
        await health_pb2_grpc.HealthStub(channel).List(health_pb2.HealthListRequest(), timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert [line for line in lines if line["log_level"] == "error"] == []

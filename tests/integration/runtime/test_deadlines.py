"""How long the gate lets a call wait, whatever its caller allows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from paycore.runtime.channel import open_channel
from paycore.runtime.clock import SystemClock
from paycore.runtime.server import Call, Server
from paycore.runtime.settings import ServiceSettings
from paycore.v1 import transfer_service_pb2, transfer_service_pb2_grpc

SERVICE = transfer_service_pb2.DESCRIPTOR.services_by_name["TransferService"]
METHODS = {one.name: None for one in SERVICE.methods}
CLOCK = SystemClock()

Request = transfer_service_pb2.SubmitTransferRequest
Reply = transfer_service_pb2.SubmitTransferResponse


@pytest.mark.parametrize(
    ("given_s", "longest_s", "left_s"),
    [(5.0, 60.0, 5.0), (3_600.0, 60.0, 60.0), (3_600.0, 2.0, 2.0)],
)
async def test_a_call_has_its_callers_time_up_to_the_longest(
    tmp_path: Path, given_s: float, longest_s: float, left_s: float
) -> None:
    seen: list[float] = []

    async def submit(_: Request, call: Call) -> Reply:
        seen.append(call.deadline_s - CLOCK.monotonic_s())
        return Reply()

    access = tmp_path / "access.toml"
    access.write_text(
        '[clients.anonymous]\nmethods = ["paycore.v1.TransferService/SubmitTransfer"]\n'
    )
    settings = ServiceSettings(
        environment="local",
        listen="127.0.0.1:0",
        metrics_listen="127.0.0.1:1",
        insecure=True,
        access_file=access,
        longest_call_s=longest_s,
    )
    server = Server(settings)
    server.add(SERVICE, [SimpleNamespace(**{**METHODS, "SubmitTransfer": submit})])
    port = await server.start()
    try:
        async with open_channel(f"127.0.0.1:{port}", None, service="command") as channel:
            stub = transfer_service_pb2_grpc.TransferServiceStub(channel)
            await stub.SubmitTransfer(Request(), timeout=given_s)
    finally:
        await server.stop(0)
    # The transport rounds what it tells of the caller's time.
    assert seen == [pytest.approx(left_s, abs=1.0)]
    assert ServiceSettings.model_fields["longest_call_s"].default == 60.0

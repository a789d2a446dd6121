"""Large requests that wait for their answers: more than a client's share are refused."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from paycore.domain.errors import Reason
from paycore.runtime import gate
from paycore.runtime.channel import open_channel
from paycore.runtime.errors import from_rpc_error
from paycore.runtime.intake import Intake
from paycore.runtime.server import Call, Server
from paycore.runtime.settings import ServiceSettings
from paycore.v1 import transfer_service_pb2, transfer_service_pb2_grpc

SERVICE = transfer_service_pb2.DESCRIPTOR.services_by_name["TransferService"]
METHODS = {one.name: None for one in SERVICE.methods}
ROOM = 100_000

Request = transfer_service_pb2.SubmitTransferRequest
Reply = transfer_service_pb2.SubmitTransferResponse


async def test_bytes_beyond_a_clients_share_are_refused_until_others_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "Intake", partial(Intake, most_bytes_of_client=ROOM))
    come, go = asyncio.Event(), asyncio.Event()

    async def submit(_: Request, __: Call) -> Reply:
        come.set()
        await go.wait()
        return Reply()

    access = tmp_path / "access.toml"
    access.write_text(
        '[clients.anonymous]\nmethods = ["paycore.v1.TransferService/SubmitTransfer"]\n'
    )
    server = Server(
        ServiceSettings(
            environment="local",
            listen="127.0.0.1:0",
            metrics_listen="127.0.0.1:1",
            insecure=True,
            access_file=access,
        )
    )
    server.add(SERVICE, [SimpleNamespace(**{**METHODS, "SubmitTransfer": submit})])
    port = await server.start()
    large, small = Request(description="x" * (ROOM - 100)), Request()
    try:
        async with open_channel(f"127.0.0.1:{port}", None, service="command") as channel:
            stub = transfer_service_pb2_grpc.TransferServiceStub(channel)
            first = asyncio.create_task(_sent(stub, large))
            await come.wait()
            assert await _sent(stub, large) is Reason.OVERLOADED
            go.set()
            assert await first is None
            assert await _sent(stub, small) is None
            # What was refused takes up nothing, and what was answered no longer.
            for _ in range(3):
                assert await _sent(stub, large) is None
    finally:
        await server.stop(0)


async def _sent(stub: Any, request: Request) -> Reason | None:
    try:
        await stub.SubmitTransfer(request, timeout=30)
    except grpc.RpcError as error:
        refusal = from_rpc_error(error)
        return None if refusal is None else refusal.reason
    return None

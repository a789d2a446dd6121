"""TransferService's stream on a core of a test's own, behind the real gate, in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from command_service.accounts.identifiers import from_primary
from command_service.admission.admission import Admission
from command_service.admission.payers import Payers
from command_service.admission.step_up import StepUpAdmission
from command_service.servicers.intake import TransferIntake
from command_service.servicers.stream import StreamLimits, StreamServicer
from command_service.servicers.stretches import Stretches
from deploy.local import Endpoints
from deploy.local.services import ACCESS_FILE
from paycore.domain.device_key import DeviceSignature
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.pin import SealedPin
from paycore.domain.rules import Rules
from paycore.domain.step_up import Authorization, Intent
from paycore.runtime.channel import SEPARATE_CONNECTION, open_channel
from paycore.runtime.identifiers import Identifiers
from paycore.runtime.server import Limiter, Server
from paycore.runtime.settings import ServiceSettings
from paycore.v1 import transfer_service_pb2, transfer_service_pb2_grpc
from tests.support.command_core import CommandCore
from tests.support.data_key_server import vault_without_keys

END: object = grpc.aio.EOF  # type: ignore[attr-defined]  # stubs lack it
SECRET = bytes(32)
SERVICE: ServiceDescriptor = transfer_service_pb2.DESCRIPTOR.services_by_name["TransferService"]


class NoSigner:
    """Where nobody can approve anything."""

    async def authorize(
        self,
        user_id: str,
        intent: Intent,
        proof: SealedPin | DeviceSignature,
        deadline_s: float,
    ) -> Authorization:
        raise PaycoreError(Reason.SIGNER_UNAVAILABLE, "there is no signing service here")


@dataclass
class StreamServer:
    """A listening server."""

    server: Server
    target: str
    endpoints: Endpoints

    @asynccontextmanager
    async def caller(
        self, name: str = "loadtest", options: tuple[tuple[str, int], ...] = ()
    ) -> AsyncIterator[Any]:
        """Stubs of TransferService over a connection of their own."""
        tls = self.endpoints.tls[name]
        async with open_channel(
            self.target, tls, (*SEPARATE_CONNECTION, *options), service="command"
        ) as channel:
            yield transfer_service_pb2_grpc.TransferServiceStub(channel)


@asynccontextmanager
async def stream_server(
    endpoints: Endpoints,
    core: CommandCore,
    rules: Rules,
    limits: StreamLimits | None = None,
    limiter: Limiter | None = None,
    port: int = 0,
) -> AsyncIterator[StreamServer]:
    """Serve `core`; what is not the stream is not served."""
    files = endpoints.tls["command"]
    settings = ServiceSettings(
        environment="local",
        listen=f"127.0.0.1:{port}",
        metrics_listen="127.0.0.1:1",
        tls_certificate=files.certificate,
        tls_key=files.key,
        tls_ca=files.ca,
        access_file=ACCESS_FILE,
        shutdown_grace_s=5.0,
    )
    admission = Admission(
        Payers(core.store, core.accounts, lambda: rules),
        StepUpAdmission(NoSigner()),
        lambda: rules,
    )
    intake = TransferIntake(Identifiers(from_primary(core.pool)), admission, SECRET, Stretches())
    others = SimpleNamespace(
        **{one.name: None for one in SERVICE.methods if one.name != "StreamTransfers"}
    )
    server = Server(settings, limiter=limiter, clock=core.clock)
    async with vault_without_keys(core) as vault:
        servicer = StreamServicer(core.engine, vault, intake, core.clock, limits)
        server.add(
            SERVICE, [servicer, others], {"StreamTransfers": lambda request: len(request.transfers)}
        )
        port = await server.start()
        try:
            yield StreamServer(server, f"127.0.0.1:{port}", endpoints)
        finally:
            await server.stop(0)


async def replies_of(stream: Any) -> list[Any]:
    """Every outcome until the stream ends well."""
    found: list[Any] = []
    while (reply := await stream.read()) is not END:
        found.extend(reply.outcomes)
    return found


async def read_outcomes(stream: Any, count: int) -> list[Any]:
    """At least `count` outcomes, read one message after the other."""
    found: list[Any] = []
    while len(found) < count:
        reply = await stream.read()
        assert reply is not END, found
        found.extend(reply.outcomes)
    return found

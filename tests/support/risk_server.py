"""A risk service of a test's own: a real gRPC server that answers as the test says."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from deploy.local import Endpoints
from deploy.local.certificates import issue
from paycore.risk.v1 import risk_service_pb2 as pb2
from paycore.risk.v1 import risk_service_pb2_grpc as pb2_grpc
from paycore.runtime.certificates import Certificates, server_credentials
from paycore.runtime.clock import SystemClock
from paycore.runtime.tls import TlsFiles

HANG = object()
"""An answer that never comes."""

Answer = pb2.AssessTransferResponse | grpc.StatusCode | object

APPROVE = pb2.AssessTransferResponse(verdict=pb2.RISK_VERDICT_APPROVE)
REVIEW = pb2.AssessTransferResponse(verdict=pb2.RISK_VERDICT_REVIEW, rule="odd-hour")
DECLINE = pb2.AssessTransferResponse(verdict=pb2.RISK_VERDICT_DECLINE, rule="sanctions")


def approve(_: pb2.AssessTransferRequest) -> Answer:
    """All is well."""
    return APPROVE


@dataclass
class RiskServer(pb2_grpc.RiskServiceServicer):
    """`answer` may be set anew at any time; every question is remembered."""

    target: str = ""
    answer: Callable[[pb2.AssessTransferRequest], Answer] = approve
    asked: list[pb2.AssessTransferRequest] = field(default_factory=list)
    callers: list[bytes] = field(default_factory=list)
    """The names in the certificates that were shown."""
    server: Any = None

    async def AssessTransfer(self, request: pb2.AssessTransferRequest, context: Any) -> Any:  # noqa: N802
        """As the test says."""
        self.asked.append(request)
        self.callers.extend(context.auth_context().get("x509_subject_alternative_name", []))
        answer = self.answer(request)
        if answer is HANG:
            await asyncio.sleep(60)
        if isinstance(answer, grpc.StatusCode):
            await context.abort(answer, "as the test says")
        return answer

    async def start(self, tls: TlsFiles | None, port: int = 0) -> None:
        """Listen on the loopback."""
        self.server = grpc.aio.server()
        pb2_grpc.add_RiskServiceServicer_to_server(self, self.server)
        place = f"127.0.0.1:{port}"
        if tls is None:
            port = self.server.add_insecure_port(place)
        else:
            credentials = server_credentials(Certificates(tls, SystemClock()))
            port = self.server.add_secure_port(place, credentials)
        await self.server.start()
        self.target = f"127.0.0.1:{port}"

    async def die(self) -> None:
        """Stop at once; calls under way are cut."""
        await self.server.stop(None)


@asynccontextmanager
async def risk_server(tls: TlsFiles | None = None) -> AsyncIterator[RiskServer]:
    """A server that approves until it is told otherwise; plain text without `tls`."""
    server = RiskServer()
    await server.start(tls)
    try:
        yield server
    finally:
        await server.die()


def risk_certificate(endpoints: Endpoints, folder: Path) -> TlsFiles:
    """A certificate for `risk` under the authority of the local stack."""
    for file in ("ca.pem", "ca.key"):
        (folder / file).write_bytes((endpoints.tls["app"].ca.parent / file).read_bytes())
    now = datetime.datetime.now(datetime.UTC)
    hour = datetime.timedelta(hours=1)
    return issue(folder, "risk", now - hour, now + hour)

"""AuthorizeStream of a signer in this process, behind the real gate, and whoever asks on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from deploy.local import Endpoints
from deploy.local.services import ACCESS_FILE
from paycore.domain.device_key import DeviceSignature
from paycore.domain.errors import PaycoreError
from paycore.domain.pin import SealedPin
from paycore.runtime.channel import SEPARATE_CONNECTION, open_channel
from paycore.runtime.errors import from_status
from paycore.runtime.server import Server
from paycore.runtime.settings import ServiceSettings
from paycore.signing.v1 import signing_service_pb2 as pb
from paycore.signing.v1 import signing_service_pb2_grpc as pb_grpc
from paycore.v1 import money_pb2, step_up_pb2, transfer_pb2
from signing_service.authorize_stream import StreamBounds, StreamServicer
from signing_service.authorizer import Question
from signing_service.servicer import SigningServicer
from tests.integration.signing.signer import Signer, paid

AMPLE_S = 60.0


def as_request(question: Question) -> pb.AuthorizeRequest:
    """`question`, about a single payment, as it is asked over the wire."""
    intent = paid(question)
    step_up = step_up_pb2.StepUp()
    step_up.sign_time.FromMicroseconds(intent.signed_at_us)
    match question.proof:
        case SealedPin():
            step_up.sealed_pin.CopyFrom(step_up_pb2.SealedPin(**question.proof._asdict()))
        case DeviceSignature():
            step_up.device_signature.CopyFrom(
                step_up_pb2.DeviceSignature(**question.proof._asdict())
            )
    return pb.AuthorizeRequest(
        user_id=question.user_id,
        payment=pb.PaymentIntent(
            kind=transfer_pb2.TransferKind.Value(f"TRANSFER_KIND_{intent.kind}"),
            debit_account_id=intent.debit_account,
            credit_account_id=intent.credit_account,
            amount=money_pb2.Money(minor_units=intent.amount, currency=intent.currency),
            client=intent.client,
            idempotency_key=intent.idempotency_key,
        ),
        step_up=step_up,
    )


def numbered(
    number: int, request: pb.AuthorizeRequest | None = None, timeout_s: float | None = AMPLE_S
) -> pb.AuthorizeQuestion:
    """One of a stream's questions."""
    question = pb.AuthorizeQuestion(number=number, request=request or pb.AuthorizeRequest())
    if timeout_s is not None:
        timeout = Duration()
        timeout.FromMicroseconds(int(timeout_s * 1_000_000))
        question.timeout.CopyFrom(timeout)
    return question


def said(answer: pb.AuthorizeAnswer) -> str:
    """AUTHORIZED, or the reason of the refusal."""
    return "AUTHORIZED" if answer.HasField("authorization") else refusal_in(answer).reason.value


def refusal_in(answer: pb.AuthorizeAnswer) -> PaycoreError:
    """The refusal that `answer` is."""
    assert answer.HasField("refusal")
    refusal = from_status(answer.refusal)
    assert refusal is not None
    return refusal


class Asking:
    """One stream, as whoever asks on it sees it."""

    def __init__(self, stub: Any) -> None:
        self.call: Any = stub.AuthorizeStream()
        self._answers: list[pb.AuthorizeAnswer] = []

    async def send(self, questions: Iterable[pb.AuthorizeQuestion]) -> None:
        """All of them in one message."""
        await self.call.write(pb.AuthorizeStreamRequest(questions=questions))

    async def next(self) -> pb.AuthorizeAnswer:
        """The next answer. Raises grpc.RpcError where the stream ends before."""
        while not self._answers:
            reply = await asyncio.wait_for(self.call.read(), AMPLE_S)
            assert isinstance(reply, pb.AuthorizeStreamResponse), "the stream ended"
            assert reply.answers
            self._answers = list(reply.answers)
        return self._answers.pop(0)

    async def take(self, count: int) -> list[pb.AuthorizeAnswer]:
        """The next `count` answers, in the order of their numbers."""
        return sorted([await self.next() for _ in range(count)], key=lambda one: one.number)

    async def end(self) -> grpc.StatusCode:
        """Ask no more; how the stream ends."""
        await self.call.done_writing()
        code: grpc.StatusCode = await asyncio.wait_for(self.call.code(), AMPLE_S)
        return code


@dataclass
class SignerServer:
    """A signer that listens."""

    server: Server
    signer: Signer
    target: str
    endpoints: Endpoints

    @asynccontextmanager
    async def channel(self, name: str = "command") -> AsyncIterator[grpc.aio.Channel]:
        """A connection of its own."""
        tls = self.endpoints.tls[name]
        async with open_channel(
            self.target, tls, SEPARATE_CONNECTION, service="signing"
        ) as channel:
            yield channel

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[Asking]:
        """A stream over a connection of its own."""
        async with self.channel() as channel:
            yield Asking(pb_grpc.SigningServiceStub(channel))


@asynccontextmanager
async def signer_server(
    endpoints: Endpoints, signer: Signer, bounds: StreamBounds | None = None
) -> AsyncIterator[SignerServer]:
    """`signer`, listening until the end."""
    tls = endpoints.tls["signing"]
    settings = ServiceSettings(
        environment="local",
        listen="127.0.0.1:0",
        tls_certificate=tls.certificate,
        tls_key=tls.key,
        tls_ca=tls.ca,
        access_file=ACCESS_FILE,
    )
    server = Server(settings)
    parts = signer.parts
    server.add(
        pb.DESCRIPTOR.services_by_name["SigningService"],
        [
            SigningServicer(parts.authorizer, parts.pins, parts.devices, signer.keystore),
            StreamServicer(parts.authorizer, signer.clock, bounds),
        ],
    )
    port = await server.start()
    await server.set_serving(True)
    try:
        yield SignerServer(server, signer, f"127.0.0.1:{port}", endpoints)
    finally:
        await server.stop(1.0)

"""A real gRPC server that answers calls by a script and remembers what it was sent."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc_status import rpc_status

from paycore.client import rpcs
from paycore.client.rpcs import Rpc
from paycore.domain.errors import PaycoreError
from paycore.runtime.certificates import Certificates, server_credentials
from paycore.runtime.clock import SystemClock
from paycore.runtime.errors import to_status
from paycore.runtime.tls import TlsFiles

HANG = object()
"""A step at which no answer comes."""

Step = Message | PaycoreError | grpc.StatusCode | Callable[[Any], Message] | object
RPCS = {rpc.path: rpc for rpc in vars(rpcs).values() if isinstance(rpc, Rpc)}


@dataclass
class Script:
    """What to answer, step by step; the last step is repeated."""

    steps: deque[Step] = field(default_factory=deque)
    requests: list[Any] = field(default_factory=list)
    metadata: list[dict[str, str | bytes]] = field(default_factory=list)
    timeouts_s: list[float] = field(default_factory=list)

    def play(self, *steps: Step) -> None:
        self.steps = deque(steps)

    def next(self) -> Step:
        return self.steps.popleft() if len(self.steps) > 1 else self.steps[0]


class _Handler(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    def __init__(self, script: Script) -> None:
        self._script = script

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        rpc = RPCS.get(details.method)
        if rpc is None:
            return None
        if rpc.streamed:
            return grpc.stream_stream_rpc_method_handler(
                self._stream,
                request_deserializer=rpc.request.FromString,
                response_serializer=rpc.reply.SerializeToString,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._answer,
            request_deserializer=rpc.request.FromString,
            response_serializer=rpc.reply.SerializeToString,
        )

    async def _stream(self, requests: Any, context: Any) -> None:
        """A step for each request; None answers nothing to it."""
        self._script.metadata.append(dict(context.invocation_metadata()))
        async for request in requests:
            self._script.requests.append(request)
            step = self._script.next()
            if isinstance(step, PaycoreError):
                await context.abort_with_status(rpc_status.to_status(to_status(step)))
            if isinstance(step, grpc.StatusCode):
                await context.abort(step, "scripted")
            reply = step(request) if callable(step) else step
            if reply is not None:
                await context.write(reply)

    async def _answer(self, request: Any, context: Any) -> Any:
        script = self._script
        script.requests.append(request)
        script.metadata.append(dict(context.invocation_metadata()))
        script.timeouts_s.append(context.time_remaining())
        step = script.next()
        if step is HANG:
            await asyncio.sleep(60)
        if isinstance(step, PaycoreError):
            await context.abort_with_status(rpc_status.to_status(to_status(step)))
        if isinstance(step, grpc.StatusCode):
            await context.abort(step, "scripted")
        return step(request) if callable(step) else step


@asynccontextmanager
async def serving(script: Script, tls: TlsFiles | None = None, port: int = 0) -> AsyncIterator[str]:
    """Serve `script` and yield host:port."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Handler(script),))
    if tls is None:
        port = server.add_insecure_port(f"127.0.0.1:{port}")
    else:
        credentials = server_credentials(Certificates(tls, SystemClock()))
        port = server.add_secure_port(f"127.0.0.1:{port}", credentials)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)

"""The gRPC server that each service runs: mTLS, the gate on every method, health, reflection."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol, TypeAlias

import grpc
import structlog
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from paycore.domain.errors import PaycoreError, Reason, invalid_field
from paycore.runtime import metrics
from paycore.runtime.access import AccessTable
from paycore.runtime.channel import MAX_MESSAGE_BYTES
from paycore.runtime.clock import Clock, SystemClock
from paycore.runtime.errors import to_status
from paycore.runtime.settings import ServiceSettings
from paycore.runtime.tls import TlsFiles, identity_of

PLAIN_TEXT_CLIENT = "anonymous"
"""The identity of every caller where the transport is plain text."""

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.so_reuseport", 1),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
)
"""How every server of ours is set up."""

_REQUEST_ID_KEY = "x-request-id"
_REQUEST_ID_MAX = 64
_COUNTED_ONLY = frozenset({Reason.RATE_LIMITED, Reason.OVERLOADED})
"""Refusals that a flood brings: a log line for each would make it worse."""

_ARBITRARILY_FAR_S = 10 * 365 * 86_400.0

log = structlog.get_logger()


Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


@dataclass(slots=True)
class Call:
    """What a handler may know of the call that it answers."""

    client: str
    """Name in the caller's certificate."""
    deadline_s: float
    """Monotonic time after which nobody waits for the answer, in seconds."""
    context: Context

    @property
    def request_id(self) -> str:
        """The caller's `x-request-id`, or one made up."""
        return _request_id(self.context)


class Limiter(Protocol):
    """Decides whether a client may make a call now."""

    async def admit(self, client: str, cost: int) -> None:
        """Raise PaycoreError RATE_LIMITED when `client` has used up its rate; `cost` >= 1."""
        ...


Handler = Callable[[Any, Call], Awaitable[Message]]


class _Gate:
    """What stands before each method, in one wrapper: interceptors cost an await each."""

    def __init__(
        self, access: AccessTable, limiter: Limiter | None, clock: Clock, *, insecure: bool
    ) -> None:
        self._access = access
        self._insecure = insecure
        self._limiter = limiter
        self._clock = clock

    def guard(
        self,
        service: str,
        method: str,
        request_class: type[Message],
        handler: Handler,
        cost: Callable[[Any], int],
    ) -> Callable[[bytes, Context], Awaitable[bytes]]:
        """`handler` behind identity, access, deadline and limit, with errors mapped and counted."""
        full_name = f"{service}/{method}"
        seconds = metrics.CALL_SECONDS.labels(full_name)
        succeeded = metrics.CALLS.labels(full_name, "OK")
        limiter, clock = self._limiter, self._clock

        async def answer(raw: bytes, context: Context) -> bytes:
            started = perf_counter()
            client: str | None = None
            try:
                client = self._identify(context, service, method)
                remaining_s = context.time_remaining()
                if remaining_s is None or remaining_s > _ARBITRARILY_FAR_S:
                    raise PaycoreError(
                        Reason.DEADLINE_REQUIRED, "set a deadline (grpcurl: -max-time SECONDS)"
                    )
                try:
                    request = request_class.FromString(raw)
                except DecodeError as error:
                    raise invalid_field("", f"not a {request_class.DESCRIPTOR.name}") from error
                if limiter is not None:
                    await limiter.admit(client, cost(request))
                call = Call(client, clock.monotonic_s() + remaining_s, context)
                reply = await handler(request, call)
                succeeded.inc()
                return reply.SerializeToString()
            except PaycoreError as error:
                refusal = error
            except asyncio.CancelledError:
                metrics.CALLS.labels(full_name, "CANCELLED").inc()
                raise
            except Exception:
                error_id = secrets.token_hex(8)
                log.exception(
                    "call failed",
                    method=full_name,
                    error_id=error_id,
                    request_id=_request_id(context),
                )
                refusal = PaycoreError(
                    Reason.INTERNAL, f"internal error {error_id}", {"error_id": error_id}
                )
            finally:
                seconds.observe(perf_counter() - started)
            metrics.CALLS.labels(full_name, refusal.reason.value).inc()
            if refusal.reason not in _COUNTED_ONLY:
                log.info(
                    "call refused",
                    method=full_name,
                    client=client,
                    reason=refusal.reason.value,
                    request_id=_request_id(context),
                )
            await _abort(context, refusal)
            raise AssertionError("an aborted call does not go on")

        return answer

    def _identify(self, context: Context, service: str, method: str) -> str:
        if self._insecure:
            client: str | None = PLAIN_TEXT_CLIENT
        elif context.peer_identity_key() == "x509_subject_alternative_name":
            client = identity_of(context.peer_identities() or ())
        else:
            client = None
        if client is None or not self._access.allows(client, service, method):
            raise PaycoreError(
                Reason.NOT_PERMITTED,
                f"{client or 'a caller without an identity'} may not call {service}/{method}",
                {"method": f"{service}/{method}", "client": client or ""},
            )
        return client


async def _abort(context: Any, refusal: PaycoreError) -> None:
    # Untyped: the published stubs of grpc.aio lack abort_with_status.
    await context.abort_with_status(rpc_status.to_status(to_status(refusal)))


def _request_id(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == _REQUEST_ID_KEY and isinstance(value, str):
            return value[:_REQUEST_ID_MAX]
    return os.urandom(8).hex()


def _handler(servicers: Sequence[object], method: str) -> Handler:
    found = [one for one in servicers if hasattr(one, method)]
    if len(found) != 1:
        raise ValueError(f"{method} has {len(found)} handlers, not one")
    handler: Handler = getattr(found[0], method)
    return handler


def _one(_: object) -> int:
    return 1


class Server:
    """A gRPC server of one service process."""

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        limiter: Limiter | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._gate = _Gate(
            AccessTable.load(settings.access_file),
            limiter,
            clock or SystemClock(),
            insecure=settings.insecure,
        )
        self._server = grpc.aio.server(options=OPTIONS)
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # stubs lack aio
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._services: list[str] = []

    def add(
        self,
        descriptor: ServiceDescriptor,
        servicers: Sequence[object],
        costs: dict[str, Callable[[Any], int]] | None = None,
    ) -> None:
        """Serve every method of `descriptor` by the async method of that name on its servicer.

        Raises ValueError where not exactly one of `servicers` has it. `costs` tells, by method,
        what a request takes from its client's rate; 1 where not named.
        """
        handlers = {
            method.name: grpc.unary_unary_rpc_method_handler(
                self._gate.guard(
                    descriptor.full_name,
                    method.name,
                    GetMessageClass(method.input_type),
                    _handler(servicers, method.name),
                    (costs or {}).get(method.name, _one),
                )
            )
            for method in descriptor.methods
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(descriptor.full_name, handlers),)
        )
        self._services.append(descriptor.full_name)

    async def start(self) -> int:
        """Listen, not yet serving as far as health tells; returns the port.

        Raises RuntimeError when the address cannot be bound.
        """
        if self._settings.reflection:
            names = (*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)
        await self.set_serving(False)
        tls = TlsFiles.of(self._settings)
        if tls is None:
            port = self._server.add_insecure_port(self._settings.listen)
        else:
            port = self._server.add_secure_port(self._settings.listen, tls.server_credentials())
        await self._server.start()
        return port

    async def set_serving(self, serving: bool) -> None:
        """Tell health checks whether calls are welcome."""
        status = health_pb2.HealthCheckResponse
        for name in ("", *self._services):
            await self._health.set(name, status.SERVING if serving else status.NOT_SERVING)

    async def stop(self, grace_s: float | None = None) -> None:
        """Turn NOT_SERVING, refuse new calls, give those under way `grace_s` seconds, close."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(self._settings.shutdown_grace_s if grace_s is None else grace_s)

    def services(self) -> Iterable[str]:
        """Full names of the services added."""
        return tuple(self._services)

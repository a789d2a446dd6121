"""The gRPC server that each service runs: mTLS, the gate on every method, health, reflection."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from grpc_status import rpc_status

from paycore.domain.errors import PaycoreError
from paycore.runtime.access import AccessTable
from paycore.runtime.certificates import Certificates, server_credentials
from paycore.runtime.channel import MAX_MESSAGE_BYTES
from paycore.runtime.clock import Clock, SystemClock
from paycore.runtime.errors import to_status
from paycore.runtime.gate import Call, Cost, Gate, Limiter, Method
from paycore.runtime.health import Health
from paycore.runtime.open_services import OpenServices
from paycore.runtime.security_events import Event, Kind, SecurityEvents
from paycore.runtime.settings import ServiceSettings
from paycore.runtime.tls import TlsFiles
from paycore.runtime.untold import in_background

__all__ = ["OPTIONS", "Call", "Limiter", "Server"]

READ_AHEAD_BYTES = 512 * 1024
"""What one call may send ahead of its being read."""

MOST_PENDING = 20_000
"""Calls that a process has received and has not taken up; gRPC's own bounds are 1,000 and 3,000."""

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.so_reuseport", 1),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    # What a stream sends and nobody reads yet stays in this process's memory: as much as this, and
    # not as much as the way is thought to hold.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", READ_AHEAD_BYTES),
    # Of calls that wait to be taken up the core ends some with CANCELLED, and no word, beyond the
    # first of these, and all beyond the second. Their callers are to hear a reason, or their own
    # deadline: these are more than come while a process is busy, and bound its memory.
    ("grpc.server.max_pending_requests", MOST_PENDING),
    ("grpc.server.max_pending_requests_hard_limit", 2 * MOST_PENDING),
)
"""How every server of ours is set up."""

HANDLERS_END_WITHIN_S = 1.0
"""How long after the transport has closed handlers may take to notice it, in seconds."""

EXPIRY_WATCHED_EVERY_S = 60.0
"""How often the files are looked at where nobody connects, and an early end is told of."""

_POLL_S = 0.01

log = structlog.get_logger()


def _handler(servicers: Sequence[object], method: str) -> Any:
    found = [one for one in servicers if hasattr(one, method)]
    if len(found) != 1:
        raise ValueError(f"{method} has {len(found)} handlers, not one")
    return getattr(found[0], method)


def _one(_: object) -> int:
    return 1


class _Refusing(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    """Has a handler for every method, which answers nothing but `refusal`."""

    def __init__(self, refusal: PaycoreError) -> None:
        self._status = rpc_status.to_status(to_status(refusal))

    def service(self, _: grpc.HandlerCallDetails) -> Any:
        # Whatever streams: no message is read, and none is sent.
        return grpc.stream_stream_rpc_method_handler(self._refuse)

    async def _refuse(self, _: object, context: Any) -> None:
        await context.abort_with_status(self._status)


def _ages(connection_age_s: float) -> tuple[tuple[str, int], ...]:
    """Options that end each connection in time, so that certificates are looked at again.

    Calls go on until they end, streams for as long again.
    """
    age_ms = int(connection_age_s * 1_000)
    return (("grpc.max_connection_age_ms", age_ms), ("grpc.max_connection_age_grace_ms", age_ms))


async def _watch(certificates: Certificates, events: SecurityEvents | None) -> None:
    """Tell of certificates that end soon, and of files that were replaced, by good ones or not."""
    shown, complaint = certificates.current(), certificates.complaint
    while True:
        certificates.watch_expiry()
        newest, wrong = certificates.current(), certificates.complaint
        if events is not None and newest is not shown:
            events.note(Kind(Event.CERTIFICATE_RENEWED, newest.identity, None, newest.described()))
        if events is not None and wrong is not None and wrong != complaint:
            events.note(Kind(Event.CERTIFICATE_REFUSED, newest.identity, None, wrong))
        shown, complaint = newest, wrong
        await asyncio.sleep(EXPIRY_WATCHED_EVERY_S)


class Server:
    """A gRPC server of one service process."""

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        limiter: Limiter | None = None,
        clock: Clock | None = None,
        events: SecurityEvents | None = None,
    ) -> None:
        self._settings = settings
        self._events = events
        self._clock = clock or SystemClock()
        self._gate = Gate(
            AccessTable.load(settings.access_file),
            limiter,
            self._clock,
            insecure=settings.insecure,
            longest_call_s=settings.longest_call_s,
            longest_watch_s=settings.connection_age_s,
            events=events,
        )
        self._server = grpc.aio.server(options=(*OPTIONS, *_ages(settings.connection_age_s)))
        self._open = OpenServices(self._server, self._gate)
        self._health = Health()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._open)
        self._services: list[str] = []
        self._watch: asyncio.Task[None] | None = None

    def add(
        self,
        descriptor: ServiceDescriptor,
        servicers: Sequence[object],
        costs: Mapping[str, Cost] | None = None,
    ) -> None:
        """Serve every method of `descriptor` by the async method of that name on its servicer.

        Raises ValueError where not exactly one of `servicers` has it, or where a method streams
        requests only. `costs` tells, by method, what a request takes from its client's rate; 1
        where not named.
        """
        handlers = {
            method.name: self._serve(
                method, _handler(servicers, method.name), (costs or {}).get(method.name, _one)
            )
            for method in descriptor.methods
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(descriptor.full_name, handlers),)
        )
        self._services.append(descriptor.full_name)

    def _serve(self, declared: MethodDescriptor, handler: Any, cost: Cost) -> Any:
        method = Method(
            declared.containing_service.full_name,
            declared.name,
            GetMessageClass(declared.input_type),
            cost,
        )
        match declared.client_streaming, declared.server_streaming:
            case False, False:
                return grpc.unary_unary_rpc_method_handler(self._gate.guard(method, handler))
            case True, True:
                return grpc.stream_stream_rpc_method_handler(
                    self._gate.guard_stream(method, handler)
                )
            case False, True:
                return grpc.unary_stream_rpc_method_handler(self._gate.guard_watch(method, handler))
            case _:
                raise ValueError(f"{method.full_name} streams requests and answers once")

    def refuse(self, refusal: PaycoreError) -> None:
        """Answer `refusal` to every call of a service that is not added."""
        self._server.add_generic_rpc_handlers((_Refusing(refusal),))

    async def start(self) -> int:
        """Listen, not yet serving as far as health tells; returns the port.

        Raises RuntimeError when the address cannot be bound, OSError and CertificateError when the
        certificate files cannot be used.
        """
        if self._settings.reflection:
            names = (*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
                reflection.aio.ReflectionServicer(names),  # type: ignore[attr-defined]  # not in the stubs
                self._open,
            )
        await self.set_serving(False)
        tls = TlsFiles.of(self._settings)
        if tls is None:
            port = self._server.add_insecure_port(self._settings.listen)
        else:
            certificates = Certificates(tls, self._clock)
            port = self._server.add_secure_port(
                self._settings.listen, server_credentials(certificates)
            )
            self._watch = in_background(_watch(certificates, self._events), "certificate-watch")
        await self._server.start()
        return port

    async def set_serving(self, serving: bool) -> None:
        """Tell health checks whether calls are welcome."""
        status = health_pb2.HealthCheckResponse
        for name in ("", *self._services):
            await self._health.set(name, status.SERVING if serving else status.NOT_SERVING)

    async def set_part_serving(self, part: str, serving: bool) -> None:
        """Tell those who ask for the health of `part` by name, or for a list, how it is."""
        status = health_pb2.HealthCheckResponse
        await self._health.set(part, status.SERVING if serving else status.NOT_SERVING)

    async def stop(self, grace_s: float | None = None) -> None:
        """Turn NOT_SERVING, refuse new calls, give those under way `grace_s` seconds, close.

        Streams read no more, answer what they have read and end with SHUTTING_DOWN; watches end so
        at once.
        """
        if self._watch is not None:
            self._watch.cancel()
        await self._health.enter_graceful_shutdown()
        self._gate.drain()
        await self._server.stop(self._settings.shutdown_grace_s if grace_s is None else grace_s)
        # The transport closes before the handlers that it cut off have noticed.
        give_up_s = self._clock.monotonic_s() + HANDLERS_END_WITHIN_S
        while (  # noqa: ASYNC110  # a counter costs calls less than an event would
            self._gate.under_way and self._clock.monotonic_s() < give_up_s
        ):
            await asyncio.sleep(_POLL_S)
        if self._gate.under_way:
            log.error("handlers did not end", count=self._gate.under_way)

    def services(self) -> Iterable[str]:
        """Full names of the services added."""
        return tuple(self._services)

"""Channels to other services."""

from __future__ import annotations

import grpc

from paycore.runtime.certificates import Certificates, Material
from paycore.runtime.clock import SystemClock
from paycore.runtime.renewing_channel import RenewingBlockingChannel, RenewingChannel
from paycore.runtime.tls import TlsFiles, server_name

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""Larger requests are refused by the server."""

MAX_REPLY_BYTES = 2 * MAX_MESSAGE_BYTES
"""Larger replies are refused by the caller: one repeats its request, and says what became of it."""

Options = tuple[tuple[str, int | str], ...]

OPTIONS: Options = (
    ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Despite its name the bound on one attempt to connect, TLS handshake included: a busy machine
    # needs longer than the pause between attempts.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Retries are decided by reason in the client, never by the transport.
    ("grpc.enable_retries", 0),
)

SEPARATE_CONNECTION: Options = (("grpc.use_local_subchannel_pool", 1),)
"""Keeps a channel's connection to itself, so that several channels reach several processes."""


def open_channel(
    target: str, tls: TlsFiles | None, extra: Options = (), *, service: str
) -> grpc.aio.Channel:
    """A channel to `service` at `target` (host:port); plain text where `tls` is None.

    Only a certificate of `service` itself is accepted there, whatever the host's name. Renewed
    files are used within seconds. Raises OSError and CertificateError when `tls` cannot be used.
    """
    options = (*OPTIONS, *extra)
    if tls is None:
        return grpc.aio.insecure_channel(target, options=options)
    options = (*options, *_expecting(service))

    def connect(material: Material) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(target, material.channel_credentials(), options=options)

    clock = SystemClock()
    return RenewingChannel(Certificates(tls, clock), connect, clock)


def open_blocking_channel(target: str, tls: TlsFiles | None, *, service: str) -> grpc.Channel:
    """`open_channel` for callers without an event loop, over a connection of its own."""
    options = (*OPTIONS, *SEPARATE_CONNECTION)
    if tls is None:
        return grpc.insecure_channel(target, options=options)
    options = (*options, *_expecting(service))

    def connect(material: Material) -> grpc.Channel:
        return grpc.secure_channel(target, material.channel_credentials(), options=options)

    clock = SystemClock()
    return RenewingBlockingChannel(Certificates(tls, clock), connect, clock)


def _expecting(service: str) -> Options:
    return (("grpc.ssl_target_name_override", server_name(service)),)

"""Channels to other services."""

from __future__ import annotations

import grpc

from paycore.runtime.tls import TlsFiles

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""Larger requests are refused by the server."""

MAX_REPLY_BYTES = 2 * MAX_MESSAGE_BYTES
"""Larger replies are refused by the caller: one repeats its request, and says what became of it."""

OPTIONS: tuple[tuple[str, int], ...] = (
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

SEPARATE_CONNECTION: tuple[tuple[str, int], ...] = (("grpc.use_local_subchannel_pool", 1),)
"""Keeps a channel's connection to itself, so that several channels reach several processes."""


def open_channel(
    target: str, tls: TlsFiles | None, extra: tuple[tuple[str, int], ...] = ()
) -> grpc.aio.Channel:
    """A channel to `target` (host:port); plain text where `tls` is None."""
    options = (*OPTIONS, *extra)
    if tls is None:
        return grpc.aio.insecure_channel(target, options=options)
    return grpc.aio.secure_channel(target, tls.channel_credentials(), options=options)

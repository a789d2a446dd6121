"""Tells a server that is away for a moment from a handshake that can never succeed.

gRPC reports both as UNAVAILABLE and tells them apart in prose only, so the client shakes hands once
itself, with the same files, and looks at what kind of failure it is.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from paycore.runtime.settings import split_address
from paycore.runtime.tls import TlsFiles

PROBE_TIMEOUT_S = 1.0
SECOND_LOOK_S = 0.1
LONGEST_LOOK_S = 2 * PROBE_TIMEOUT_S + SECOND_LOOK_S
VERDICT_KEPT_S = 1.0
"""Callers that fail together share one look."""
_FIRST_FRAME_BYTES = 9
"""An HTTP/2 server speaks first once it has accepted its peer: a frame header (RFC 9113, 3.4)."""

_TRANSIENT = (ssl.SSLEOFError, ssl.SSLZeroReturnError)

REJECTED = (
    "the server closes the connection after the TLS handshake: "
    "it does not accept this client's certificate"
)


def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """The context that gRPC would use with `files`.

    Raises OSError (ssl.SSLError among them) when a file cannot be read or key and certificate do
    not belong together.
    """
    context = ssl.create_default_context(cafile=files.ca)
    context.load_cert_chain(files.certificate, files.key)
    context.set_alpn_protocols(["h2"])
    return context


@dataclass(frozen=True, slots=True)
class Secured:
    """An address, whose certificate must be there, and the files to show to it."""

    target: str
    server_name: str
    files: TlsFiles


async def find_fault(secured: Secured) -> str | None:
    """Why no handshake with `secured` will ever succeed; None where another try may."""
    try:
        # Made anew each time, as the channel's is: files are renewed while it is open.
        context = tls_context(secured.files)
    except OSError:
        return None
    try:
        if await _is_accepted(secured, context):
            return None
        # A process that is just ending closes connections too, but does not do so twice.
        await asyncio.sleep(SECOND_LOOK_S)
        return None if await _is_accepted(secured, context) else REJECTED
    except _TRANSIENT:
        return None
    except ssl.SSLError as error:
        return describe(error)
    except (OSError, TimeoutError):
        return None


async def _is_accepted(secured: Secured, context: ssl.SSLContext) -> bool:
    host, port = split_address(secured.target)
    async with asyncio.timeout(PROBE_TIMEOUT_S):
        reader, writer = await asyncio.open_connection(
            host, port, ssl=context, server_hostname=secured.server_name
        )
        try:
            return bool(await reader.read(_FIRST_FRAME_BYTES))
        finally:
            writer.transport.abort()


def find_fault_blocking(secured: Secured) -> str | None:
    """`find_fault` for callers without an event loop."""
    try:
        context = tls_context(secured.files)
    except OSError:
        return None
    try:
        if _is_accepted_blocking(secured, context):
            return None
        time.sleep(SECOND_LOOK_S)
        return None if _is_accepted_blocking(secured, context) else REJECTED
    except _TRANSIENT:
        return None
    except ssl.SSLError as error:
        return describe(error)
    except OSError:
        return None


def _is_accepted_blocking(secured: Secured, context: ssl.SSLContext) -> bool:
    host, port = split_address(secured.target)
    with (
        socket.create_connection((host, port), timeout=PROBE_TIMEOUT_S) as plain,
        context.wrap_socket(plain, server_hostname=secured.server_name) as shaken,
    ):
        return bool(shaken.recv(_FIRST_FRAME_BYTES))


def describe(error: ssl.SSLError) -> str:
    """What went wrong, in words a caller can act on."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {error.verify_message}"
    return f"TLS handshake failed: {error.reason or error}"


class HandshakeCheck:
    """Looks at one target's handshake, at most once in VERDICT_KEPT_S, for an event loop."""

    def __init__(self, secured: Secured, monotonic_s: Callable[[], float]) -> None:
        self._secured = secured
        self._monotonic_s = monotonic_s
        self._lock = asyncio.Lock()
        self._verdict: str | None = None
        self._looked_s: float | None = None

    async def fault(self) -> str | None:
        """Why the handshake can never succeed; None where it may."""
        async with self._lock:
            now_s = self._monotonic_s()
            if self._looked_s is None or now_s - self._looked_s > VERDICT_KEPT_S:
                self._verdict = await find_fault(self._secured)
                self._looked_s = self._monotonic_s()
            return self._verdict


class BlockingHandshakeCheck:
    """`HandshakeCheck` for threads."""

    def __init__(self, secured: Secured, monotonic_s: Callable[[], float]) -> None:
        self._secured = secured
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._verdict: str | None = None
        self._looked_s: float | None = None

    def fault(self) -> str | None:
        """Why the handshake can never succeed; None where it may."""
        with self._lock:
            now_s = self._monotonic_s()
            if self._looked_s is None or now_s - self._looked_s > VERDICT_KEPT_S:
                self._verdict = find_fault_blocking(self._secured)
                self._looked_s = self._monotonic_s()
            return self._verdict

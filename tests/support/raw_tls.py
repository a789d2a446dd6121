"""Half a TLS 1.2 handshake by hand: no library would send the certificates that are sent here."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass

TIMEOUT_S = 5.0

_HANDSHAKE, _ALERT = 22, 21
_SERVER_HELLO_DONE, _CERTIFICATE = 14, 11
_VERSION = b"\x03\x03"
# ECDHE with ECDSA and AES-GCM: what a server with such a certificate speaks.
_SUITES = struct.pack("!HH", 0xC02B, 0xC02C)


@dataclass(frozen=True)
class Verdict:
    """What the server did on seeing the certificate."""

    refused: bool
    alert: int | None
    """The alert's number (RFC 8446, 6.2), where it said one before it closed."""


def show(host: str, port: int, certificates: list[bytes], wait_s: float = TIMEOUT_S) -> Verdict:
    """Show DER `certificates`, of any content, to a server that asks for a client's.

    A server that finds nothing wrong waits for the proof that their key is held, which never comes:
    it has accepted them when it says nothing for `wait_s` seconds.
    """
    with socket.create_connection((host, port), timeout=TIMEOUT_S) as connection:
        # Closed at once: many in a row would use up the machine's ports while they linger.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(_record(_client_hello()))
        _read_until_done(connection)
        chain = b"".join(_sized(one, 3) for one in certificates)
        message = _sized(chain, 3)
        try:
            connection.sendall(_record(bytes([_CERTIFICATE]) + _sized(message, 3)))
            connection.settimeout(wait_s)
            kind, body = _read_record(connection)
        except TimeoutError:
            return Verdict(False, None)
        except (ConnectionError, EOFError):
            return Verdict(True, None)
        return Verdict(kind == _ALERT, body[1] if kind == _ALERT else None)


def _client_hello() -> bytes:
    extensions = b"".join(
        struct.pack("!H", kind) + _sized(body, 2)
        for kind, body in (
            (10, _sized(struct.pack("!HH", 29, 23), 2)),
            (11, _sized(b"\x00", 1)),
            (13, _sized(struct.pack("!HHH", 0x0403, 0x0503, 0x0804), 2)),
            (16, _sized(_sized(b"h2", 1), 2)),
        )
    )
    body = _VERSION + os.urandom(32) + _sized(b"", 1) + _sized(_SUITES, 2) + _sized(b"\x00", 1)
    return b"\x01" + _sized(body + _sized(extensions, 2), 3)


def _read_until_done(connection: socket.socket) -> None:
    """Take the server's flight. Raises EOFError, or AssertionError when it does not shake hands."""
    handshake = b""
    while True:
        kind, body = _read_record(connection)
        assert kind == _HANDSHAKE, (kind, body)
        # Messages may be split over records, and share one.
        handshake += body
        while len(handshake) >= 4 and len(handshake) >= (end := _end_of_first(handshake)):
            if handshake[0] == _SERVER_HELLO_DONE:
                return
            handshake = handshake[end:]


def _end_of_first(handshake: bytes) -> int:
    return 4 + int.from_bytes(handshake[1:4])


def _read_record(connection: socket.socket) -> tuple[int, bytes]:
    head = _read(connection, 5)
    return head[0], _read(connection, int.from_bytes(head[3:5]))


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _record(body: bytes) -> bytes:
    """As many records as it takes: each holds 16 KiB at most."""
    most = 16_384
    parts = [body[start : start + most] for start in range(0, len(body), most)]
    return b"".join(bytes([_HANDSHAKE]) + _VERSION + _sized(part, 2) for part in parts)


def _sized(body: bytes, width: int) -> bytes:
    return len(body).to_bytes(width) + body

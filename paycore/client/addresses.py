"""Where the services are, and who the client is to them."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from paycore.client.errors import HandshakeError
from paycore.client.handshake import tls_context
from paycore.client.identity import certificate_identity
from paycore.client.rpcs import Service
from paycore.runtime.tls import TlsFiles

DEFAULT_CONNECTIONS = 4
"""To the command service, whose processes share a port: the kernel spreads connections."""

MAX_CONNECTIONS = 64

PLAIN_TEXT_IDENTITY = "anonymous"
"""What services call a client without a certificate."""


@dataclass(frozen=True, slots=True)
class Address:
    """host:port of a service and how many connections to keep to it."""

    target: str
    connections: int


@dataclass(frozen=True, slots=True)
class Addresses:
    """Everything needed to open channels, checked as far as it can be without connecting."""

    identity: str
    context: ssl.SSLContext | None
    services: Mapping[Service, Address]

    @classmethod
    def of(
        cls,
        command_target: str,
        query_target: str | None,
        signing_target: str | None,
        tls: TlsFiles | None,
        connections: int,
    ) -> Self:
        """Raises HandshakeError when the files of `tls` cannot be used, ValueError on bounds."""
        if not 1 <= connections <= MAX_CONNECTIONS:
            raise ValueError(f"connections must be 1 to {MAX_CONNECTIONS}, not {connections}")
        services = {Service.COMMAND: Address(command_target, connections)}
        if query_target is not None:
            services[Service.QUERY] = Address(query_target, 1)
        if signing_target is not None:
            services[Service.SIGNING] = Address(signing_target, 1)
        if tls is None:
            return cls(PLAIN_TEXT_IDENTITY, None, services)
        try:
            return cls(certificate_identity(tls.certificate), tls_context(tls), services)
        except (OSError, ValueError) as error:
            raise HandshakeError(f"the certificate files cannot be used: {error}") from error

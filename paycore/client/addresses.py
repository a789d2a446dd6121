"""Where the services are, and who the client is to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from paycore.client.errors import HandshakeError
from paycore.client.handshake import Secured
from paycore.client.rpcs import Service
from paycore.runtime.certificates import CertificateError, Certificates
from paycore.runtime.clock import SystemClock
from paycore.runtime.tls import TlsFiles, server_name

DEFAULT_CONNECTIONS = 4
"""To the command service, whose processes share a port: the kernel spreads connections."""

MAX_CONNECTIONS = 64

PLAIN_TEXT_IDENTITY = "anonymous"
"""What services call a client without a certificate."""


@dataclass(frozen=True, slots=True)
class Address:
    """host:port of a service, how many connections to keep to it, and how it is made sure of."""

    target: str
    connections: int
    secured: Secured | None


@dataclass(frozen=True, slots=True)
class Addresses:
    """Everything needed to open channels, checked as far as it can be without connecting."""

    identity: str
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
        identity = PLAIN_TEXT_IDENTITY
        if tls is not None:
            try:
                identity = Certificates(tls, SystemClock()).current().identity
            except (OSError, CertificateError) as error:
                raise HandshakeError(f"the certificate files cannot be used: {error}") from error
        targets = {
            Service.COMMAND: command_target,
            Service.QUERY: query_target,
            Service.SIGNING: signing_target,
        }
        services = {}
        for service, target in targets.items():
            if target is not None:
                secured = (
                    None if tls is None else Secured(target, server_name(service.process), tls)
                )
                many = connections if service is Service.COMMAND else 1
                services[service] = Address(target, many, secured)
        return cls(identity, services)

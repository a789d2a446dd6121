"""Certificates: who a process is and who its peers are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import grpc

from paycore.runtime.settings import ServiceSettings

SPIFFE_PREFIX = "spiffe://paycore/"
"""Identities are URI SANs: this prefix and the name (SPIFFE ID, trust domain `paycore`)."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of one identity: its certificate, its key, and the CA that it trusts."""

    certificate: Path
    key: Path
    ca: Path

    @classmethod
    def of(cls, settings: ServiceSettings) -> Self | None:
        """The files that `settings` name; None where the transport is plain text."""
        if settings.insecure:
            return None
        certificate, key, ca = settings.tls_certificate, settings.tls_key, settings.tls_ca
        if certificate is None or key is None or ca is None:
            raise ValueError("tls files are not set")
        return cls(certificate, key, ca)

    def server_credentials(self) -> grpc.ServerCredentials:
        """Credentials of a server that demands a certificate of its callers."""
        return grpc.ssl_server_credentials(
            [(self.key.read_bytes(), self.certificate.read_bytes())],
            root_certificates=self.ca.read_bytes(),
            require_client_auth=True,
        )

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Credentials of a caller that shows its certificate."""
        return grpc.ssl_channel_credentials(
            root_certificates=self.ca.read_bytes(),
            private_key=self.key.read_bytes(),
            certificate_chain=self.certificate.read_bytes(),
        )


def identity_of(alternative_names: Iterable[bytes]) -> str | None:
    """The name in the first SPIFFE id among a certificate's alternative names, if there is one.

    A name that is not ASCII is no identity, for no access table can mean it (SPIFFE-ID, 2.2).
    """
    prefix = SPIFFE_PREFIX.encode()
    for name in alternative_names:
        if name.startswith(prefix):
            own = name[len(prefix) :]
            return own.decode("ascii") if own and own.isascii() else None
    return None

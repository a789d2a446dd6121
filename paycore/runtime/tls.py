"""Names in certificates, and where a process's own lie."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from paycore.runtime.settings import ServiceSettings

TRUST_DOMAIN = "paycore"
SPIFFE_PREFIX = f"spiffe://{TRUST_DOMAIN}/"
"""Identities are URI SANs: this prefix and the name (SPIFFE ID, trust domain `paycore`)."""

MAX_IDENTITY = 128
"""Characters of the longest name."""

# The characters that a path segment may have (SPIFFE-ID, 2.2).
_NAME = re.compile(rf"(?!\.{{1,2}}\Z)[A-Za-z0-9._-]{{1,{MAX_IDENTITY}}}")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of one identity: its certificate, its key, and the authorities that it trusts."""

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


def identity_of(uris: Sequence[str]) -> str:
    """The name in a certificate's URI SANs, which must be one SPIFFE id of our trust domain.

    Raises ValueError, with what is wrong: a certificate of several ids would let its holder choose
    who it is (X509-SVID, 2).
    """
    if len(uris) != 1:
        raise ValueError(f"it has {len(uris) or 'no'} URI names, not one {SPIFFE_PREFIX}NAME")
    (uri,) = uris
    if not uri.startswith(SPIFFE_PREFIX):
        raise ValueError(f"its URI name is not of the trust domain {TRUST_DOMAIN}")
    name = uri[len(SPIFFE_PREFIX) :]
    if not _NAME.fullmatch(name):
        raise ValueError(f"its URI name is not {SPIFFE_PREFIX}NAME")
    return name


def server_name(service: str) -> str:
    """The DNS name in the certificate of `service`, which only that service is given.

    gRPC's clients in Python compare a server's DNS names and nothing else.
    """
    return f"{service}.{TRUST_DOMAIN}"

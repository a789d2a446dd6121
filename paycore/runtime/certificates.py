"""A process's own certificate, read again when its files change."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

import grpc
import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from paycore.runtime.clock import Clock
from paycore.runtime.metric_definitions import TIMESTAMP, Named, counter, gauge
from paycore.runtime.tls import TlsFiles, identity_of

LOOK_EVERY_S = 1.0
"""How old a look at the files may be when a call is made, in seconds."""

WARNED_SHARE = 0.25
"""Part of a certificate's lifetime before its end in which it should have been renewed."""

EXPIRY = gauge(
    "paycore_certificate_expiry_timestamp_seconds",
    "When the process's own certificate ends, in seconds since 1970-01-01 UTC.",
    unit=TIMESTAMP,
    labels={"identity": Named("the process's own identity")},
)
LOADS = counter(
    "paycore_certificate_loads_total",
    "Certificate files that had changed: loaded, or refused and the earlier ones kept.",
    unit="files",
    labels={"outcome": ("loaded", "refused")},
)
_LOADED, _REFUSED = LOADS.labels("loaded"), LOADS.labels("refused")

UNREADABLE = (x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType)
"""What the parser of certificates raises beside ValueError."""

_PEM_BEGINNING = b"-----BEGIN CERTIFICATE-----"
_US = 1_000_000

log = structlog.get_logger()


class CertificateError(ValueError):
    """Files that are no certificate of ours, its key and its authorities."""


@dataclass(frozen=True, slots=True)
class Pem:
    """What the files held at one moment."""

    certificate: bytes
    key: bytes = field(repr=False)
    ca: bytes

    @classmethod
    def read(cls, files: TlsFiles) -> Self:
        """Raises OSError."""
        return cls(files.certificate.read_bytes(), files.key.read_bytes(), files.ca.read_bytes())


@dataclass(frozen=True, slots=True)
class Material:
    """A certificate, its key and the authorities to trust, which belong together."""

    pem: Pem
    identity: str
    begins: datetime
    ends: datetime

    @classmethod
    def of(cls, pem: Pem) -> Self:
        """Raises CertificateError: not PEM, no identity, another's key, no authority."""
        try:
            own = _all_of(pem.certificate)[0]
            identity = certificate_identity(own)
            key = load_pem_private_key(pem.key, password=None)
            authorities = _all_of(pem.ca)
            # What does not parse further would only be found out in a handshake.
            for authority in authorities:
                authority.public_key()
            matching = key.public_key() == own.public_key()
        except (ValueError, TypeError, UnsupportedAlgorithm, *UNREADABLE) as error:
            raise CertificateError(f"not a certificate, its key and authorities: {error}") from None
        if not matching:
            raise CertificateError("the key is not that of the certificate")
        return cls(pem, identity, own.not_valid_before_utc, own.not_valid_after_utc)

    def described(self) -> str:
        """Which certificate and which authorities, by SHA-256 of their files, and until when."""
        until = f"{self.ends:%Y-%m-%dT%H:%M:%SZ}"
        own, authorities = _named(self.pem.certificate), _named(self.pem.ca)
        return f"certificate {own} until {until}, authorities {authorities}"

    def check_valid(self, now: datetime) -> None:
        """Raises CertificateError outside the certificate's time."""
        if not self.begins <= now < self.ends:
            raise CertificateError(f"valid from {self.begins} to {self.ends} only")

    def should_be_renewed(self, now: datetime) -> bool:
        """Whether the last part of the certificate's lifetime has begun."""
        return now > self.ends - WARNED_SHARE * (self.ends - self.begins)

    def server_configuration(self) -> grpc.ServerCertificateConfiguration:
        """What a server shows and trusts from the next handshake on."""
        return grpc.ssl_server_certificate_configuration(
            [(self.pem.key, self.pem.certificate)], root_certificates=self.pem.ca
        )

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Credentials of a caller that shows its certificate."""
        return grpc.ssl_channel_credentials(
            root_certificates=self.pem.ca,
            private_key=self.pem.key,
            certificate_chain=self.pem.certificate,
        )


class Certificates:
    """The newest good content of some files; threads may share it.

    Files that are replaced one after the other do not belong together for a moment, and a broken
    one may stay: what was good is kept until all of them are.
    """

    def __init__(self, files: TlsFiles, clock: Clock) -> None:
        """Raises OSError and CertificateError (of files that are good but not valid now too)."""
        self._files = files
        self._clock = clock
        self._lock = threading.Lock()
        self._complained_of: str | None = None
        self._looked_s = clock.monotonic_s()
        pem = Pem.read(files)
        self._material = Material.of(pem)
        self._material.check_valid(self._now())
        self._publish()

    def current(self) -> Material:
        """The content as of LOOK_EVERY_S ago at most."""
        if self._clock.monotonic_s() - self._looked_s > LOOK_EVERY_S:
            return self.newest()
        return self._material

    def newest(self) -> Material:
        """The content as of now, or the last good one."""
        with self._lock:
            self._looked_s = self._clock.monotonic_s()
            try:
                pem = Pem.read(self._files)
                if pem != self._material.pem:
                    self._material = self._accepted(Material.of(pem))
                    self._publish()
                    _LOADED.inc()
                    log.info("certificate renewed", ends=self._material.ends.isoformat())
                self._complained_of = None
            except (OSError, CertificateError) as error:
                self._complain(str(error))
            return self._material

    @property
    def complaint(self) -> str | None:
        """Why the files as they are now are not in use."""
        return self._complained_of

    def watch_expiry(self) -> None:
        """Say so in the log when the certificate should have been renewed."""
        material = self.newest()
        now = self._now()
        if material.should_be_renewed(now):
            log.warning(
                "certificate expires soon",
                identity=material.identity,
                ends=material.ends.isoformat(),
                left_s=int((material.ends - now).total_seconds()),
            )

    def _accepted(self, material: Material) -> Material:
        material.check_valid(self._now())
        if material.identity != self._material.identity:
            raise CertificateError(f"they are of {material.identity}: restart to be another")
        return material

    def _complain(self, why: str) -> None:
        if why != self._complained_of:
            _REFUSED.inc()
            log.error("certificate files refused: the earlier ones stay in use", why=why)
        self._complained_of = why

    def _publish(self) -> None:
        EXPIRY.labels(self._material.identity).set(self._material.ends.timestamp())

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_us() / _US, UTC)


def _named(pem: bytes) -> str:
    return hashlib.sha256(pem).hexdigest()[:16]


def _all_of(pem: bytes) -> list[x509.Certificate]:
    """Every certificate of a file. Raises ValueError also when it ends within one."""
    certificates = x509.load_pem_x509_certificates(pem)
    # The parser passes over a last one that is cut short.
    if pem.count(_PEM_BEGINNING) != len(certificates):
        raise ValueError("a certificate is cut short")
    return certificates


def certificate_identity(certificate: x509.Certificate) -> str:
    """The name in the SPIFFE id of `certificate`. Raises ValueError and UNREADABLE."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return identity_of(())
    return identity_of(extension.value.get_values_for_type(x509.UniformResourceIdentifier))


def server_credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """Credentials of a server that demands a certificate of its callers.

    Each handshake uses the files as they are then. gRPC asks from threads of its own.
    """
    shown = certificates.current()
    lock = threading.Lock()

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal shown
        with lock:
            newest = certificates.newest()
            # To gRPC nothing new is None: a configuration costs it more than a handshake.
            if newest is shown:
                return None
            shown = newest
            return newest.server_configuration()

    return grpc.dynamic_ssl_server_credentials(
        shown.server_configuration(),
        fetch,  # type: ignore[arg-type]  # stubs lack None, which means nothing new
        require_client_authentication=True,
    )

"""Certificates of every kind, good and bad, from authorities of a test's own or the stack's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from paycore.runtime.tls import TlsFiles, server_name

HOUR = timedelta(hours=1)
CALLS, SERVES = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
BOTH = (CALLS, SERVES)

Times = tuple[datetime, datetime]


def around_now(before: timedelta = HOUR, after: timedelta = HOUR) -> Times:
    """A time of validity."""
    now = datetime.now(UTC)
    return now - before, now + after


@dataclass(frozen=True)
class Leaf:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def key_pem(self) -> bytes:
        return key_pem(self.key)

    def write(self, folder: Path, ca: bytes) -> TlsFiles:
        """Put it into `folder`, over what is there, beside the authorities `ca`."""
        files = TlsFiles(folder / "own.pem", folder / "own.key", folder / "ca.pem")
        folder.mkdir(exist_ok=True)
        files.key.write_bytes(self.key_pem)
        files.certificate.write_bytes(self.pem)
        files.ca.write_bytes(ca)
        return files


@dataclass(frozen=True)
class Authority:
    """Signs whatever it is told to."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def new(cls, name: str = "authority") -> Self:
        key = ec.generate_private_key(ec.SECP256R1())
        begins, ends = around_now(24 * HOUR, 24 * HOUR)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            _builder(subject, subject, key, begins, ends)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def of_stack(cls, files: TlsFiles) -> Self:
        """The one that signed `files` of a local stack."""
        certificate = x509.load_pem_x509_certificate(files.ca.read_bytes())
        key = load_pem_private_key((files.ca.parent / "ca.key").read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return cls(certificate, key)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def issue(
        self,
        uris: Sequence[str] = (),
        dns: Sequence[str] = (),
        *,
        common_name: str = "somebody",
        times: Times | None = None,
        usages: Sequence[x509.ObjectIdentifier] = BOTH,
        signs: bool = False,
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> Leaf:
        """A certificate; without names it has no alternative names at all."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        begins, ends = times or around_now()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = _builder(subject, self.certificate.subject, key, begins, ends).add_extension(
            x509.BasicConstraints(ca=signs, path_length=None), critical=True
        )
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        names: list[x509.GeneralName] = [
            *map(x509.UniformResourceIdentifier, uris),
            *map(x509.DNSName, dns),
        ]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return Leaf(builder.sign(self.key, hashes.SHA256()), key)

    def issue_service(self, name: str, times: Times | None = None) -> Leaf:
        """As a service's own."""
        return self.issue([f"spiffe://paycore/{name}"], [server_name(name)], times=times)

    def issue_caller(self, name: str, times: Times | None = None) -> Leaf:
        """As that of a process that only calls."""
        return self.issue([f"spiffe://paycore/{name}"], times=times, usages=[CALLS])


def self_signed(name: str) -> Leaf:
    """A certificate that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName(
        [x509.UniformResourceIdentifier(f"spiffe://paycore/{name}")]
    )
    certificate = (
        _builder(subject, subject, key, *around_now())
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    return Leaf(certificate, key)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS #8, open."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    begins: datetime,
    ends: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )

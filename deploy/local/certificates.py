"""The local certificate authority and one certificate per service and caller.

Identity is the URI SAN `spiffe://paycore/<name>`. What serves has a DNS SAN `<name>.paycore`,
which our clients look for, and those of the loopback for other clients; what only calls has
neither, and cannot serve.
"""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.local.files import private_folder, write_private
from paycore.runtime.tls import SPIFFE_PREFIX, TlsFiles, server_name

SERVICES = ("command", "signing", "projector", "query")
CALLERS = ("app", "loadtest", "analyst", "operator", "stranger")
IDENTITIES = SERVICES + CALLERS
SERVERS = (*SERVICES, "risk")
"""What may serve: the judge of risks is a company's own, so it gets none from the stack."""

AUTHORITY_LIFETIME = datetime.timedelta(days=3650)
LEAF_LIFETIME = datetime.timedelta(days=365)
RENEW_BEFORE_EXPIRY = datetime.timedelta(days=30)
# A verifier whose clock is a little behind must still accept a certificate made just now.
CLOCK_TOLERANCE = datetime.timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def tls_files(folder: Path, name: str) -> TlsFiles:
    """Return where the files of identity `name` lie in `folder`."""
    return TlsFiles(folder / f"{name}.pem", folder / f"{name}.key", folder / "ca.pem")


def ensure_certificates(folder: Path, now: datetime.datetime) -> dict[str, TlsFiles]:
    """Make, or renew when close to expiry, the authority and every identity's certificate.

    A new authority renews everything, since nothing signed by the old one is trusted any more.
    """
    private_folder(folder)
    authority = _ensure_authority(folder, now)
    files = {}
    for name in IDENTITIES:
        files[name] = tls_files(folder, name)
        if not _is_good(files[name], name, authority, now):
            _issue(files[name], name, authority, now)
    return files


def issue(
    folder: Path, name: str, not_before: datetime.datetime, not_after: datetime.datetime
) -> TlsFiles:
    """Issue one more certificate under the authority in `folder`, for any validity.

    Tests use it for identities and dates that the stack itself never makes.
    """
    authority = _load_authority(folder)
    files = tls_files(folder, name)
    _write_leaf(files, name, authority, not_before, not_after)
    return files


def _ensure_authority(folder: Path, now: datetime.datetime) -> _Authority:
    if (folder / "ca.pem").exists() and (folder / "ca.key").exists():
        authority = _load_authority(folder)
        if authority.certificate.not_valid_after_utc - now > LEAF_LIFETIME:
            return authority
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "paycore local authority")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_TOLERANCE)
        .not_valid_after(now + AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    # The key goes first: a crash between the two leaves a pair that does not match, which
    # the next start would otherwise trust.
    (folder / "ca.pem").unlink(missing_ok=True)
    write_private(folder / "ca.key", _key_bytes(key))
    write_private(folder / "ca.pem", certificate.public_bytes(serialization.Encoding.PEM))
    return _Authority(certificate, key)


def _load_authority(folder: Path) -> _Authority:
    certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{folder / 'ca.key'} does not hold an elliptic-curve key")
    return _Authority(certificate, key)


def _is_good(files: TlsFiles, name: str, authority: _Authority, now: datetime.datetime) -> bool:
    if not files.certificate.exists() or not files.key.exists():
        return False
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if names != _names(name):
        return False
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except (ValueError, InvalidSignature):
        return False
    return certificate.not_valid_after_utc - now > RENEW_BEFORE_EXPIRY


def _issue(files: TlsFiles, name: str, authority: _Authority, now: datetime.datetime) -> None:
    _write_leaf(files, name, authority, now - CLOCK_TOLERANCE, now + LEAF_LIFETIME)


def _write_leaf(
    files: TlsFiles,
    name: str,
    authority: _Authority,
    not_before: datetime.datetime,
    not_after: datetime.datetime,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if name in SERVERS:
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(_names(name), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
        .sign(authority.key, hashes.SHA256())
    )
    files.certificate.unlink(missing_ok=True)
    write_private(files.key, _key_bytes(key))
    write_private(files.certificate, certificate.public_bytes(serialization.Encoding.PEM))


def _names(name: str) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(f"{SPIFFE_PREFIX}{name}")]
    if name in SERVERS:
        names += [
            x509.DNSName(server_name(name)),
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ]
    return x509.SubjectAlternativeName(names)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )

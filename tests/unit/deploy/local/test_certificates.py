"""Certificates name their identity, are renewed in time, and are closed to other users."""

import datetime
import ipaddress
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from deploy.local.certificates import (
    CALLERS,
    IDENTITIES,
    LEAF_LIFETIME,
    RENEW_BEFORE_EXPIRY,
    SERVICES,
    ensure_certificates,
    issue,
)
from paycore.runtime.tls import TlsFiles

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


def read(files: TlsFiles) -> x509.Certificate:
    return x509.load_pem_x509_certificate(files.certificate.read_bytes())


def test_every_service_and_caller_gets_a_certificate(folder: Path) -> None:
    made = ensure_certificates(folder, NOW)

    assert set(made) == {*SERVICES, *CALLERS}
    assert set(SERVICES) == {"command", "signing", "projector", "query"}
    assert set(CALLERS) == {"app", "loadtest", "analyst", "operator", "stranger"}


def names_of(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_its_identity_its_own_server_name_and_loopback(
    folder: Path, name: str
) -> None:
    names = names_of(read(ensure_certificates(folder, NOW)[name]))

    assert list(names) == [
        x509.UniformResourceIdentifier(f"spiffe://paycore/{name}"),
        x509.DNSName(f"{name}.paycore"),
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]


@pytest.mark.parametrize("name", CALLERS)
def test_a_caller_has_its_identity_only_and_cannot_serve(folder: Path, name: str) -> None:
    certificate = read(ensure_certificates(folder, NOW)[name])

    assert list(names_of(certificate)) == [
        x509.UniformResourceIdentifier(f"spiffe://paycore/{name}")
    ]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_certificate_with_other_names_is_replaced(folder: Path) -> None:
    """As of a stack whose names have changed since it was first started."""
    first = ensure_certificates(folder, NOW)
    issue(folder, "app", NOW - DAY, NOW + LEAF_LIFETIME)
    first["app"].certificate.replace(first["command"].certificate)
    first["app"].key.replace(first["command"].key)

    renewed = read(ensure_certificates(folder, NOW)["command"])

    assert x509.DNSName("command.paycore") in list(names_of(renewed))


def test_a_certificate_cannot_issue_others_and_serves_both_sides(folder: Path) -> None:
    certificate = read(ensure_certificates(folder, NOW)["command"])

    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert constraints.critical
    assert not constraints.value.ca
    assert {item.dotted_string for item in usage.value} == {
        ExtendedKeyUsageOID.SERVER_AUTH.dotted_string,
        ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string,
    }


def test_a_certificate_is_signed_by_the_authority_and_valid_now(folder: Path) -> None:
    files = ensure_certificates(folder, NOW)["query"]
    authority = x509.load_pem_x509_certificate(files.ca.read_bytes())

    certificate = read(files)
    certificate.verify_directly_issued_by(authority)
    assert certificate.not_valid_before_utc < NOW < certificate.not_valid_after_utc
    assert certificate.not_valid_after_utc == NOW + LEAF_LIFETIME


def test_the_files_load_as_a_pair(folder: Path) -> None:
    files = ensure_certificates(folder, NOW)["projector"]

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(files.ca))
    context.load_cert_chain(files.certificate, files.key)


def test_nothing_is_made_anew_while_it_is_good(folder: Path) -> None:
    ensure_certificates(folder, NOW)
    before = {path: path.read_bytes() for path in folder.iterdir()}

    ensure_certificates(folder, NOW + LEAF_LIFETIME - RENEW_BEFORE_EXPIRY - DAY)

    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_certificates_close_to_expiry_are_renewed_under_the_same_authority(folder: Path) -> None:
    first = ensure_certificates(folder, NOW)
    authority = first["app"].ca.read_bytes()
    before = read(first["app"])
    later = NOW + LEAF_LIFETIME - RENEW_BEFORE_EXPIRY

    renewed = read(ensure_certificates(folder, later)["app"])

    assert renewed.serial_number != before.serial_number
    assert renewed.not_valid_after_utc == later + LEAF_LIFETIME
    assert first["app"].ca.read_bytes() == authority


def test_a_new_authority_renews_every_certificate(folder: Path) -> None:
    first = ensure_certificates(folder, NOW)
    before = {name: read(files).serial_number for name, files in first.items()}
    (folder / "ca.key").unlink()

    second = ensure_certificates(folder, NOW)

    authority = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    for name, files in second.items():
        assert read(files).serial_number != before[name]
        read(files).verify_directly_issued_by(authority)


def test_an_authority_that_ends_before_what_it_would_sign_is_replaced(folder: Path) -> None:
    first = ensure_certificates(folder, NOW)
    before = first["app"].ca.read_bytes()

    ensure_certificates(folder, NOW + datetime.timedelta(days=3650 - 365))

    assert first["app"].ca.read_bytes() != before


def test_a_lost_key_is_replaced_with_its_certificate(folder: Path) -> None:
    files = ensure_certificates(folder, NOW)["app"]
    before = read(files).serial_number
    files.key.unlink()

    ensure_certificates(folder, NOW)

    assert files.key.exists()
    assert read(files).serial_number != before


def test_tests_can_have_an_expired_certificate(folder: Path) -> None:
    ensure_certificates(folder, NOW)

    files = issue(folder, "late", NOW - 2 * DAY, NOW - DAY)

    certificate = read(files)
    assert certificate.not_valid_after_utc == NOW - DAY
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(files.ca.read_bytes()))


@pytest.mark.parametrize("name", ["ca", *IDENTITIES])
def test_files_are_readable_by_their_owner_only(folder: Path, name: str) -> None:
    ensure_certificates(folder / "tls", NOW)

    for suffix in ("pem", "key"):
        mode = stat.S_IMODE((folder / "tls" / f"{name}.{suffix}").stat().st_mode)
        assert mode == 0o600
    assert stat.S_IMODE((folder / "tls").stat().st_mode) == 0o700

"""Files are used as they change, and never when they are bad."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from paycore.runtime.certificates import (
    LOOK_EVERY_S,
    CertificateError,
    Certificates,
    Material,
    Pem,
)
from paycore.runtime.tls import TlsFiles
from tests.support.clocks import ShiftedClock
from tests.support.forgery import HOUR, Authority, Leaf, around_now, key_pem

AUTHORITY = Authority.new()
LEAF = AUTHORITY.issue_caller("app")
RENEWED = AUTHORITY.issue_caller("app", around_now(HOUR, 2 * HOUR))


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return LEAF.write(tmp_path / "tls", AUTHORITY.pem)


def write(files: TlsFiles, leaf: Leaf, ca: bytes = AUTHORITY.pem) -> None:
    leaf.write(files.ca.parent, ca)


def shown(material: Material) -> bytes:
    return material.pem.certificate


def loads(outcome: str) -> float:
    return REGISTRY.get_sample_value("paycore_certificate_loads_total", {"outcome": outcome}) or 0.0


def expiry() -> float | None:
    name = "paycore_certificate_expiry_timestamp_seconds"
    return REGISTRY.get_sample_value(name, {"identity": "app"})


def test_what_is_there_at_first_is_used(files: TlsFiles) -> None:
    material = Certificates(files, ShiftedClock()).current()
    assert (material.identity, shown(material)) == ("app", LEAF.pem)
    assert expiry() == LEAF.certificate.not_valid_after_utc.timestamp()


def test_renewed_files_are_used_within_a_moment(files: TlsFiles) -> None:
    clock = ShiftedClock()
    certificates = Certificates(files, clock)
    before = loads("loaded")
    write(files, RENEWED)
    assert shown(certificates.current()) == LEAF.pem
    clock.shift_s += LOOK_EVERY_S + 0.01
    assert shown(certificates.current()) == RENEWED.pem
    assert loads("loaded") == before + 1
    assert expiry() == RENEWED.certificate.not_valid_after_utc.timestamp()


def test_a_handshake_sees_renewed_files_at_once(files: TlsFiles) -> None:
    certificates = Certificates(files, ShiftedClock())
    write(files, RENEWED)
    assert shown(certificates.newest()) == RENEWED.pem


def test_a_bundle_of_authorities_is_used_when_it_changes(files: TlsFiles) -> None:
    certificates = Certificates(files, ShiftedClock())
    bundle = AUTHORITY.pem + Authority.new("next").pem
    files.ca.write_bytes(bundle)
    assert certificates.newest().pem.ca == bundle


def _cut(files: TlsFiles) -> None:
    files.certificate.write_bytes(RENEWED.pem[: len(RENEWED.pem) // 2])


def _emptied(files: TlsFiles) -> None:
    files.certificate.write_bytes(b"")


def _gone(files: TlsFiles) -> None:
    files.key.unlink()


def _garbage(files: TlsFiles) -> None:
    files.certificate.write_bytes(b"\xff\x00" * 500)


def _key_of_another(files: TlsFiles) -> None:
    files.key.write_bytes(key_pem(ec.generate_private_key(ec.SECP256R1())))


def _half_renewed(files: TlsFiles) -> None:
    files.key.write_bytes(RENEWED.key_pem)


def _no_authority(files: TlsFiles) -> None:
    files.ca.write_bytes(b"")


def _authority_cut(files: TlsFiles) -> None:
    files.ca.write_bytes(AUTHORITY.pem + AUTHORITY.pem[:100])


def _expired(files: TlsFiles) -> None:
    write(files, AUTHORITY.issue_caller("app", around_now(2 * HOUR, -HOUR)))


def _not_begun(files: TlsFiles) -> None:
    write(files, AUTHORITY.issue_caller("app", around_now(-HOUR, 2 * HOUR)))


def _of_another(files: TlsFiles) -> None:
    write(files, AUTHORITY.issue_caller("operator"))


def _of_two(files: TlsFiles) -> None:
    write(files, AUTHORITY.issue(["spiffe://paycore/app", "spiffe://paycore/operator"]))


def _of_nobody(files: TlsFiles) -> None:
    write(files, AUTHORITY.issue(dns=["app"]))


BROKEN = [
    _cut, _emptied, _gone, _garbage, _key_of_another, _half_renewed, _no_authority, _authority_cut,
    _expired,
    _not_begun, _of_another, _of_two, _of_nobody,
]  # fmt: skip


@pytest.mark.parametrize("breaking", BROKEN)
def test_broken_files_leave_the_earlier_ones_in_use(
    files: TlsFiles, breaking: Callable[[TlsFiles], None]
) -> None:
    certificates = Certificates(files, ShiftedClock())
    before = loads("refused")
    breaking(files)
    with capture_logs() as lines:
        assert shown(certificates.newest()) == LEAF.pem
        assert shown(certificates.newest()) == LEAF.pem
    assert loads("refused") == before + 1
    assert [line["log_level"] for line in lines] == ["error"]
    assert lines[0]["why"]
    assert "PRIVATE" not in lines[0]["why"]
    write(files, RENEWED)
    assert shown(certificates.newest()) == RENEWED.pem


@pytest.mark.parametrize("breaking", [*BROKEN[:9], _not_begun, _of_two, _of_nobody])
def test_nothing_starts_with_broken_files(
    files: TlsFiles, breaking: Callable[[TlsFiles], None]
) -> None:
    breaking(files)
    with pytest.raises((OSError, CertificateError)):
        Certificates(files, ShiftedClock())


def test_a_certificate_in_its_last_quarter_is_warned_of(tmp_path: Path) -> None:
    day = timedelta(days=1)
    files = AUTHORITY.issue_caller("app", around_now(0 * day, 4 * day)).write(
        tmp_path / "tls", AUTHORITY.pem
    )
    clock = ShiftedClock()
    certificates = Certificates(files, clock)
    with capture_logs() as lines:
        clock.shift_s = 2.9 * 86_400
        certificates.watch_expiry()
        assert lines == []
        clock.shift_s = 3.1 * 86_400
        certificates.watch_expiry()
    assert [(line["log_level"], line["identity"]) for line in lines] == [("warning", "app")]
    assert lines[0]["left_s"] == pytest.approx(0.9 * 86_400, abs=60)


def test_a_key_is_not_shown_by_its_holder(files: TlsFiles) -> None:
    material = Material.of(Pem.read(files))
    assert LEAF.key_pem.decode().splitlines()[1] not in repr(material)

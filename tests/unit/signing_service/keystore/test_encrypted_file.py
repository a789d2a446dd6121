"""The keystore file: who may read it, what damages it, and that nothing overwrites it."""

from __future__ import annotations

import json
import multiprocessing
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from paycore.client.sealing import SealingKey
from paycore.domain.enrolment import enrolment_binding
from paycore.domain.pin import Pin
from signing_service.keystore import encrypted_file
from signing_service.keystore.key_ring import KeyRing
from signing_service.keystore.port import KeyPurpose, KeystoreError

PASSPHRASE = b"a passphrase for tests"


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """Where a keystore is whose passphrase costs what it always does."""
    return tmp_path / "signing.keystore"


@pytest.fixture
def path(full: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, for tests for which it may cost little."""
    monkeypatch.setattr(encrypted_file, "_SCRYPT_N", 2**4)
    return full


def test_the_first_start_creates_it_for_the_owner_only(path: Path) -> None:
    encrypted_file.load_or_create(path, PASSPHRASE, now_us=1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_later_start_reads_the_same_keys(path: Path) -> None:
    first = encrypted_file.load_or_create(path, PASSPHRASE, now_us=1)
    content = path.read_bytes()
    assert encrypted_file.load_or_create(path, PASSPHRASE, now_us=2).keys == first.keys
    assert path.read_bytes() == content


def test_no_secret_is_readable_in_it(path: Path) -> None:
    ring = encrypted_file.load_or_create(path, PASSPHRASE, now_us=1)
    content = path.read_bytes()
    for key in ring.keys:
        assert key.secret not in content
        assert key.secret.hex().encode() not in content
        assert key.secret.hex() not in repr(key)
        assert repr(key.secret) not in repr(key)


def test_each_guess_of_the_passphrase_costs_64_mib(full: Path) -> None:
    ring = encrypted_file.load_or_create(full, PASSPHRASE, now_us=1)
    content = full.read_bytes().removeprefix(encrypted_file.MAGIC)
    salt, nonce, sealed = content[:16], content[16:28], content[28:]
    key = Scrypt(salt=salt, length=32, n=2**16, r=8, p=1).derive(PASSPHRASE)
    header = encrypted_file.MAGIC + salt + nonce
    written = json.loads(ChaCha20Poly1305(key).decrypt(nonce, sealed, header))
    assert [entry["secret"] for entry in written] == [key.secret.hex() for key in ring.keys]


def test_a_wrong_passphrase_is_refused_and_changes_nothing(path: Path) -> None:
    encrypted_file.load_or_create(path, PASSPHRASE, now_us=1)
    content = path.read_bytes()
    with pytest.raises(KeystoreError, match="passphrase is wrong or the file is damaged"):
        encrypted_file.load_or_create(path, b"another passphrase!!", now_us=2)
    assert path.read_bytes() == content


@pytest.mark.parametrize("place", [0, 20, 40, 60, -1], ids=str)
def test_a_damaged_byte_is_refused_and_the_file_kept(path: Path, place: int) -> None:
    encrypted_file.load_or_create(path, PASSPHRASE, now_us=1)
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(KeystoreError, match=r"damaged|not a keystore"):
        encrypted_file.load_or_create(path, PASSPHRASE, now_us=2)
    assert path.read_bytes() == bytes(damaged)


@pytest.mark.parametrize("kept", [0, 10, 47, 60, 200])
def test_a_cut_file_is_refused(path: Path, kept: int) -> None:
    encrypted_file.load_or_create(path, PASSPHRASE, now_us=1)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(KeystoreError, match=r"damaged|not a keystore"):
        encrypted_file.load_or_create(path, PASSPHRASE, now_us=2)


def test_a_huge_file_is_refused_unread(path: Path) -> None:
    with path.open("wb") as file:
        file.write(encrypted_file.MAGIC)
        file.truncate(encrypted_file.MAX_FILE_BYTES * 100)
    with pytest.raises(KeystoreError, match="not a keystore"):
        encrypted_file.load(path, PASSPHRASE)


@pytest.mark.parametrize("content", [b"", b"\n", b"too short"])
def test_a_short_passphrase_is_refused(path: Path, content: bytes) -> None:
    file = path.with_name("passphrase")
    file.write_bytes(content)
    with pytest.raises(KeystoreError, match="at least 16 bytes"):
        encrypted_file.read_passphrase(file)
    with pytest.raises(KeystoreError, match="at least 16 bytes"):
        encrypted_file.load_or_create(path, content, now_us=1)
    assert not path.exists()


def test_the_line_end_of_the_passphrase_file_does_not_count(path: Path) -> None:
    file = path.with_name("passphrase")
    file.write_bytes(PASSPHRASE + b"\r\n")
    assert encrypted_file.read_passphrase(file) == PASSPHRASE


def _start(path: Path) -> str:
    return encrypted_file.load_or_create(path, PASSPHRASE, now_us=1).signing_key_id


def _rotate(path: Path) -> str:
    return encrypted_file.rotate(path, PASSPHRASE, KeyPurpose.PEPPER, 2, 2).key_id


def test_processes_that_start_at_once_agree_on_the_keys(full: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as starters:
        assert len(set(starters.map(_start, [full] * 3))) == 1
    assert [entry.name for entry in full.parent.iterdir()] == [full.name]


def test_rotation_keeps_old_keys_which_go_on_opening_and_verifying(path: Path) -> None:
    old = encrypted_file.load_or_create(path, PASSPHRASE, now_us=1)
    (sealing_key,) = (key for key in old.public_keys() if key.purpose is KeyPurpose.SEALING)
    sealed = SealingKey(sealing_key.key_id, sealing_key.public_key).for_enrolment(
        Pin("7391"), "user-1"
    )
    new = old
    for purpose in KeyPurpose:
        new = new.rotated(purpose, now_us=2)
    encrypted_file.replace(path, PASSPHRASE, new)

    read = encrypted_file.load(path, PASSPHRASE)
    assert read.signing_key_id != old.signing_key_id
    assert read.pepper_id != old.pepper_id
    assert read.sign(old.signing_key_id, b"m") == old.sign(old.signing_key_id, b"m")
    assert read.pepper(old.pepper_id, b"m") == old.pepper(old.pepper_id, b"m")
    binding = enrolment_binding("user-1")
    assert read.open_pin(sealed.key_id, sealed.ciphertext, binding).reveal() == "7391"
    assert {key.key_id for key in old.public_keys()} < {key.key_id for key in read.public_keys()}
    assert not any(
        key.current
        for key in read.public_keys()
        if key.key_id in {known.key_id for known in old.public_keys()}
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_rotation_of_the_file_waits_for_its_time(path: Path) -> None:
    old = encrypted_file.load_or_create(path, PASSPHRASE, now_us=1)
    entry = encrypted_file.rotate(path, PASSPHRASE, KeyPurpose.AUTHORIZATION, 2, 2**62)
    assert not entry.current
    read = encrypted_file.load(path, PASSPHRASE)
    assert read.signing_key_id == old.signing_key_id
    assert entry.key_id in {key.key_id for key in read.public_keys()}
    assert encrypted_file.rotate(path, PASSPHRASE, KeyPurpose.AUTHORIZATION, 3, 3).current


def test_rotations_at_once_all_stay(full: Path) -> None:
    encrypted_file.load_or_create(full, PASSPHRASE, now_us=1)
    with multiprocessing.get_context("spawn").Pool(3) as rotating:
        new = set(rotating.map(_rotate, [full] * 3))
    assert new < {entry.key_id for entry in encrypted_file.load(full, PASSPHRASE).inventory()}
    assert len(new) == 3


def test_a_file_of_before_keys_had_a_time_of_use_is_read(path: Path) -> None:
    ring = KeyRing.generate(now_us=5)
    fields = json.loads(encrypted_file._serialized(ring))
    for field in fields:
        del field["active_from_us"]
        field["current"] = True
    assert encrypted_file._parse(path, json.dumps(fields).encode()) == ring.keys


def test_a_ring_without_a_key_of_each_purpose_is_refused() -> None:
    keys = KeyRing.generate(now_us=1).keys
    for absent in range(len(keys)):
        with pytest.raises(KeystoreError, match="no key of purpose"):
            KeyRing(keys[:absent] + keys[absent + 1 :])
    with pytest.raises(KeystoreError, match="one id"):
        KeyRing((*keys, keys[0]))


def _without_wrapping(path: Path) -> KeyRing:
    """The file at `path` as it was before there were wrapping keys; the ring that it would be."""
    ring = encrypted_file.load_or_create(path, PASSPHRASE, now_us=1)
    older = tuple(key for key in ring.keys if key.purpose is not KeyPurpose.WRAPPING)
    ring.keys = older
    encrypted_file.replace(path, PASSPHRASE, ring)
    return ring


def test_a_file_without_keys_of_a_purpose_gets_them_and_keeps_its_own(path: Path) -> None:
    older = _without_wrapping(path).keys
    ring = encrypted_file.load_or_create(path, PASSPHRASE, now_us=2)
    assert ring.keys[: len(older)] == older
    assert [key.purpose for key in ring.keys[len(older) :]] == [KeyPurpose.WRAPPING]
    assert encrypted_file.load(path, PASSPHRASE).keys == ring.keys


def test_processes_that_complete_a_file_at_once_agree_on_the_keys(full: Path) -> None:
    _without_wrapping(full)
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert len(set(pool.map(_wrapping, [full] * 4))) == 1


def _wrapping(path: Path) -> str:
    ring = encrypted_file.load_or_create(path, PASSPHRASE, now_us=3)
    return ring.wrap(bytes(32), b"").wrapping_key_id

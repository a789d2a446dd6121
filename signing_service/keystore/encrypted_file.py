"""Keys in one encrypted file, for the local stack and for machines without an HSM.

Layout: the magic line, a salt (16 bytes), a nonce (12), then ChaCha20-Poly1305 over a JSON list of
keys, with all before it as associated data. The key is scrypt of the passphrase and the salt.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from signing_service.keystore.key_ring import SECRET_BYTES, Key, KeyRing
from signing_service.keystore.port import KeyEntry, KeyPurpose, KeystoreError

MAGIC = b"paycore-keystore-1\n"
SALT_BYTES = 16
NONCE_BYTES = 12
MIN_PASSPHRASE_BYTES = 16
MAX_FILE_BYTES = 1024 * 1024

_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**16, 8, 1
"""64 MiB and some 0.2 s: once a start for us, for each guess for others."""


def load_or_create(path: Path, passphrase: bytes, now_us: int) -> KeyRing:
    """The keys in the file at `path`, which is created with new ones where it does not exist.

    Of several processes that start at once one creates the file and all use it. Raises
    KeystoreError when the passphrase is too short or not the file's, or the file is damaged, and
    OSError when it cannot be read or written. The keys of a file that exists all stay.
    """
    if not path.exists():
        _create(path, passphrase, KeyRing.generate(now_us))
    keys = _read(path, passphrase)
    if _is_complete(keys):
        return KeyRing(keys)
    # Made before there were keys of some purpose. One process adds them, and all use those.
    with _alone(path):
        keys = _read(path, passphrase)
        ring = KeyRing.completed(keys, now_us)
        if not _is_complete(keys):
            replace(path, passphrase, ring)
    return ring


def load(path: Path, passphrase: bytes) -> KeyRing:
    """The keys in the file at `path`. Raises as `load_or_create`, and FileNotFoundError."""
    return KeyRing(_read(path, passphrase))


def _read(path: Path, passphrase: bytes) -> tuple[Key, ...]:
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    header_bytes = len(MAGIC) + SALT_BYTES + NONCE_BYTES
    if not content.startswith(MAGIC) or not header_bytes < len(content) <= MAX_FILE_BYTES:
        raise KeystoreError(f"{path} is not a keystore")
    header, sealed = content[:header_bytes], content[header_bytes:]
    salt, nonce = header[len(MAGIC) : -NONCE_BYTES], header[-NONCE_BYTES:]
    try:
        plaintext = _cipher(passphrase, salt).decrypt(nonce, sealed, header)
    except InvalidTag:
        raise KeystoreError(f"{path}: the passphrase is wrong or the file is damaged") from None
    return _parse(path, plaintext)


def replace(path: Path, passphrase: bytes, ring: KeyRing) -> None:
    """Write `ring` in the place of the file at `path`, all or nothing. Raises OSError."""
    temporary = _write_beside(path, passphrase, ring)
    temporary.replace(path)
    _sync_folder(path.parent)


def rotate(
    path: Path, passphrase: bytes, purpose: KeyPurpose, now_us: int, active_from_us: int
) -> KeyEntry:
    """Add a key of `purpose` to the file at `path`, in use from `active_from_us` on.

    Others who rotate at the same time wait. Raises as `load`.
    """
    with _alone(path):
        ring = load(path, passphrase).rotated(purpose, now_us, active_from_us)
        replace(path, passphrase, ring)
    new = ring.keys[-1].key_id
    return next(entry for entry in ring.inventory() if entry.key_id == new)


def read_passphrase(path: Path) -> bytes:
    """The passphrase in the file at `path`, without a line end. Raises KeystoreError, OSError."""
    passphrase = path.read_bytes().rstrip(b"\r\n")
    if len(passphrase) < MIN_PASSPHRASE_BYTES:
        raise KeystoreError(
            f"{path}: a keystore's passphrase has at least {MIN_PASSPHRASE_BYTES} bytes"
        )
    return passphrase


def _create(path: Path, passphrase: bytes, ring: KeyRing) -> None:
    temporary = _write_beside(path, passphrase, ring)
    try:
        # A link, unlike a rename, never replaces what another process has put there.
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()
    _sync_folder(path.parent)


def _write_beside(path: Path, passphrase: bytes, ring: KeyRing) -> Path:
    salt, nonce = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(NONCE_BYTES)
    header = MAGIC + salt + nonce
    sealed = _cipher(passphrase, salt).encrypt(nonce, _serialized(ring), header)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(header + sealed)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cipher(passphrase: bytes, salt: bytes) -> ChaCha20Poly1305:
    if len(passphrase) < MIN_PASSPHRASE_BYTES:
        raise KeystoreError(f"a keystore's passphrase has at least {MIN_PASSPHRASE_BYTES} bytes")
    derivation = Scrypt(salt=salt, length=32, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P)
    return ChaCha20Poly1305(derivation.derive(passphrase))


def _serialized(ring: KeyRing) -> bytes:
    return json.dumps(
        [
            {
                "key_id": key.key_id,
                "purpose": key.purpose.value,
                "created_at_us": key.created_at_us,
                "active_from_us": key.active_from_us,
                "secret": key.secret.hex(),
            }
            for key in ring.keys
        ]
    ).encode("ascii")


def _is_complete(keys: tuple[Key, ...]) -> bool:
    return {key.purpose for key in keys} == set(KeyPurpose)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes from replacing the file at `path` meanwhile."""
    # Not the file itself: it is replaced, and a lock on what it was keeps nobody away.
    with path.with_name(f"{path.name}.lock").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _parse(path: Path, plaintext: bytes) -> tuple[Key, ...]:
    try:
        keys = tuple(
            Key(
                key_id=str(entry["key_id"]),
                purpose=KeyPurpose(entry["purpose"]),
                created_at_us=int(entry["created_at_us"]),
                # Files of before keys had a time of their own: each was in use from the start.
                active_from_us=int(entry.get("active_from_us", entry["created_at_us"])),
                secret=bytes.fromhex(entry["secret"]),
            )
            for entry in json.loads(plaintext)
        )
    except (ValueError, KeyError, TypeError):
        raise KeystoreError(f"{path}: its content is not a list of keys") from None
    if any(len(key.secret) != SECRET_BYTES for key in keys):
        raise KeystoreError(f"{path}: a key has a wrong length")
    return keys

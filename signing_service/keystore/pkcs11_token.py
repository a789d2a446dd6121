"""Keys in a token behind PKCS#11, which they never leave.

Each key is an object, or a pair of them, whose CKA_ID is the key's id and whose CKA_LABEL is
`paycore:PURPOSE:TIME`, TIME being from when it is in use, in microseconds since 1970. Private keys
are sensitive and not extractable. Ed25519 signs by CKM_EDDSA, X25519 agrees by CKM_ECDH1_DERIVE
(both as CKK_EC_EDWARDS, as SoftHSM has them); peppers and wrapping keys are generic secrets for
CKM_SHA256_HMAC.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pkcs11
from cryptography.exceptions import InvalidTag
from pkcs11 import KDF, Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.exceptions import (
    FunctionFailed,
    GeneralError,
    PKCS11Error,
    UserAlreadyLoggedIn,
)

from paycore.domain.pin import PLAINTEXT_BYTES, Pin, pin_of_plaintext
from paycore.runtime.clock import Clock, SystemClock
from paycore.runtime.hpke import KEY_BYTES, OVERHEAD_BYTES
from signing_service.keystore import wrapping
from signing_service.keystore.hpke_opening import Recipient, open_sealed
from signing_service.keystore.port import (
    UNPUBLISHED,
    KeyEntry,
    KeyPurpose,
    KeystoreError,
    PublicKey,
    SealBrokenError,
    UnknownKeyError,
    WrappedKey,
)
from signing_service.keystore.schedule import Schedule

MAX_KEYS = 1_000

_PREFIX = "paycore"
_CURVES = {
    KeyPurpose.AUTHORIZATION: bytes.fromhex("06032b6570"),
    KeyPurpose.SEALING: bytes.fromhex("06032b656e"),
}
"""CKA_EC_PARAMS: the DER of 1.3.101.112, Ed25519, and of 1.3.101.110, X25519 (RFC 8410)."""
_OCTET_STRING = bytes.fromhex("0420")
"""What DER puts before 32 bytes."""
_USES = {
    KeyPurpose.AUTHORIZATION: MechanismFlag.SIGN | MechanismFlag.VERIFY,
    KeyPurpose.SEALING: MechanismFlag.DERIVE,
}
_SECRET_BITS = 256
_KEPT = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}

T = TypeVar("T")


class _Found(NamedTuple):
    key_id: str
    purpose: KeyPurpose
    active_from_us: int
    secret: Any
    public_key: bytes


class Pkcs11Token:
    """The port `Keystore` over a token.

    One session, one call at a time. It is opened at first use in each process, so that what a fork
    inherits is never used; one that the token ended is opened once more.
    """

    def __init__(self, module: Path, label: str, user_pin: str, clock: Clock | None = None) -> None:
        """Open the token with `label` by the library `module`. Raises KeystoreError when it cannot
        be opened, or lacks a key of a purpose."""
        self._module = module
        self._label = label
        self._user_pin = user_pin
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._process: int | None = None
        self._session: Any = None
        self._found: dict[str, _Found] = {}
        with self._lock:
            self._open()
        self._schedule = Schedule(
            (key.key_id, key.purpose, key.active_from_us) for key in self._found.values()
        )

    @property
    def signing_key_id(self) -> str:
        return self._schedule.current(KeyPurpose.AUTHORIZATION, self._clock.now_us())

    @property
    def pepper_id(self) -> str:
        return self._schedule.current(KeyPurpose.PEPPER, self._clock.now_us())

    def public_keys(self) -> tuple[PublicKey, ...]:
        return tuple(
            PublicKey(
                entry.key_id,
                entry.purpose,
                self._found[entry.key_id].public_key,
                entry.current,
            )
            for entry in self.inventory()
            if entry.purpose not in UNPUBLISHED
        )

    def inventory(self) -> tuple[KeyEntry, ...]:
        return self._schedule.inventory(self._clock.now_us())

    def sign(self, key_id: str, message: bytes) -> bytes:
        self._require(key_id, KeyPurpose.AUTHORIZATION)
        signature: bytes = self._use(
            lambda: self._found[key_id].secret.sign(message, mechanism=Mechanism.EDDSA)
        )
        return signature

    def open_pin(self, key_id: str, ciphertext: bytes, binding: bytes) -> Pin:
        try:
            key = self._require(key_id, KeyPurpose.SEALING)
        except UnknownKeyError:
            raise SealBrokenError("no such sealing key") from None
        if len(ciphertext) != PLAINTEXT_BYTES + OVERHEAD_BYTES:
            raise SealBrokenError("wrong length")
        recipient = Recipient(
            key.public_key, lambda point: self._use(lambda: self._agree(key_id, point))
        )
        try:
            return pin_of_plaintext(open_sealed(recipient, ciphertext, binding))
        except InvalidTag:
            raise SealBrokenError("not sealed to this key and binding") from None
        except ValueError:
            raise SealBrokenError("no PIN inside") from None

    def pepper(self, key_id: str, message: bytes) -> bytes:
        self._require(key_id, KeyPurpose.PEPPER)
        return self._hmac(key_id, message)

    def wrap(self, secret: bytes, binding: bytes) -> WrappedKey:
        key_id = self._schedule.current(KeyPurpose.WRAPPING, self._clock.now_us())
        return wrapping.wrap(key_id, self._keyed(key_id), secret, binding)

    def unwrap(self, wrapped: WrappedKey, binding: bytes) -> bytes:
        return wrapping.unwrap(wrapped, self._keyed(wrapped.wrapping_key_id), binding)

    def close(self) -> None:
        """End the session, if this process has one."""
        with self._lock:
            if self._session is not None and self._process == os.getpid():
                self._session.close()
            self._session = None

    def _require(self, key_id: str, purpose: KeyPurpose) -> _Found:
        key = self._found.get(key_id)
        if key is None or key.purpose is not purpose:
            raise UnknownKeyError(f"no key {key_id} of purpose {purpose}")
        return key

    def _keyed(self, key_id: str) -> wrapping.Keyed:
        self._require(key_id, KeyPurpose.WRAPPING)
        return partial(self._hmac, key_id)

    def _hmac(self, key_id: str, message: bytes) -> bytes:
        keyed: bytes = self._use(
            lambda: self._found[key_id].secret.sign(message, mechanism=Mechanism.SHA256_HMAC)
        )
        return keyed

    def _agree(self, key_id: str, point: bytes) -> bytes:
        # The secret agreed upon is this message's alone: it may leave the token, the key may not.
        try:
            agreed = self._found[key_id].secret.derive_key(
                KeyType.GENERIC_SECRET,
                KEY_BYTES * 8,
                mechanism=Mechanism.ECDH1_DERIVE,
                mechanism_param=(KDF.NULL, None, point),
                template={
                    Attribute.TOKEN: False,
                    Attribute.SENSITIVE: False,
                    Attribute.EXTRACTABLE: True,
                },
            )
        except (GeneralError, FunctionFailed):
            # So a token refuses a point that agrees on zero.
            return bytes(KEY_BYTES)
        try:
            value: bytes = agreed[Attribute.VALUE]
            return value
        finally:
            agreed.destroy()

    def _use(self, work: Callable[[], T]) -> T:
        with self._lock:
            if self._process != os.getpid():
                self._open()
            try:
                return work()
            except PKCS11Error:
                self._open()
            try:
                return work()
            except PKCS11Error as error:
                raise KeystoreError(f"the token failed: {type(error).__name__}") from None

    def _open(self) -> None:
        try:
            self._session = open_session(
                self._module, self._label, self._user_pin, inherited=self._is_inherited()
            )
            self._process = os.getpid()
            self._found = {key.key_id: key for key in _read(self._session)}
        except PKCS11Error as error:
            raise KeystoreError(
                f"the token {self._label} cannot be opened: {type(error).__name__}"
            ) from None

    def _is_inherited(self) -> bool:
        return self._process is not None and self._process != os.getpid()


def open_session(
    module: Path, label: str, user_pin: str, *, write: bool = False, inherited: bool = False
) -> Any:
    """A session of the token with `label`. Raises PKCS11Error.

    `inherited` says that a fork brought the library's state along: a child begins anew with it
    (PKCS#11, C_Initialize).
    """
    library = pkcs11.lib(str(module))
    if inherited:
        library.reinitialize()
    token = library.get_token(token_label=label)
    try:
        return token.open(rw=write, user_pin=user_pin)
    except UserAlreadyLoggedIn:
        # A login is the process's, not the session's.
        return token.open(rw=write)


def provision(module: Path, label: str, user_pin: str, now_us: int) -> None:
    """Make the first key of each purpose that the token has none of. Raises KeystoreError."""
    try:
        session = open_session(module, label, user_pin, write=True)
        try:
            present = {key.purpose for key in _read(session)}
            for purpose in KeyPurpose:
                if purpose not in present:
                    _generate(session, purpose, now_us)
        finally:
            session.close()
    except PKCS11Error as error:
        raise KeystoreError(f"the token {label} makes no keys: {type(error).__name__}") from None


def rotate(
    module: Path, label: str, user_pin: str, purpose: KeyPurpose, active_from_us: int
) -> KeyEntry:
    """Make a key of `purpose` in the token, in use from `active_from_us` on. Raises
    KeystoreError."""
    try:
        session = open_session(module, label, user_pin, write=True)
        try:
            key_id = _generate(session, purpose, active_from_us)
        finally:
            session.close()
    except PKCS11Error as error:
        raise KeystoreError(f"the token {label} makes no keys: {type(error).__name__}") from None
    return KeyEntry(key_id, purpose, active_from_us, current=False)


def _generate(session: Any, purpose: KeyPurpose, active_from_us: int) -> str:
    key_id = f"{purpose.value.lower()}-{secrets.token_hex(8)}"
    naming = {
        "id": key_id.encode("ascii"),
        "label": f"{_PREFIX}:{purpose.value}:{active_from_us}",
        "store": True,
    }
    if purpose in UNPUBLISHED:
        session.generate_key(
            KeyType.GENERIC_SECRET,
            _SECRET_BITS,
            capabilities=MechanismFlag.SIGN,
            template=_KEPT,
            **naming,
        )
        return key_id
    parameters = session.create_domain_parameters(
        KeyType.EC_EDWARDS, {Attribute.EC_PARAMS: _CURVES[purpose]}, local=True
    )
    parameters.generate_keypair(
        mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
        capabilities=_USES[purpose],
        private_template=_KEPT,
        **naming,
    )
    return key_id


def _read(session: Any) -> list[_Found]:
    points: dict[str, bytes] = {}
    for public in session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY}):
        points[_id_of(public)] = _raw_point(public[Attribute.EC_POINT])
    found = []
    for object_class in (ObjectClass.PRIVATE_KEY, ObjectClass.SECRET_KEY):
        for secret in session.get_objects({Attribute.CLASS: object_class}):
            named = _parse_label(secret[Attribute.LABEL])
            if named is not None:
                key_id = _id_of(secret)
                if named[0] not in UNPUBLISHED and key_id not in points:
                    raise KeystoreError(f"the token lacks the public key of {key_id}")
                found.append(_Found(key_id, *named, secret, points.get(key_id, b"")))
    if len(found) > MAX_KEYS:
        raise KeystoreError("the token has too many keys")
    if len({key.key_id for key in found}) != len(found):
        raise KeystoreError("two keys have one id")
    return found


def _id_of(key: Any) -> str:
    identifier: bytes = key[Attribute.ID]
    return identifier.decode("ascii", "replace")


def _parse_label(label: str) -> tuple[KeyPurpose, int] | None:
    """What a label of ours says; None of another's, who may share the token."""
    prefix, _, rest = label.partition(":")
    purpose, _, active_from = rest.partition(":")
    if prefix != _PREFIX or purpose not in set(KeyPurpose) or not active_from.isdecimal():
        return None
    return KeyPurpose(purpose), int(active_from)


def _raw_point(point: bytes) -> bytes:
    """The raw key: PKCS#11 2.40 wraps it as an OCTET STRING, 3.0 allows it bare."""
    raw = point if len(point) == KEY_BYTES else point.removeprefix(_OCTET_STRING)
    if len(raw) != KEY_BYTES:
        raise KeystoreError("a public key of the token has a wrong length")
    return raw

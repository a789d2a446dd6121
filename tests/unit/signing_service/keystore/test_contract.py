"""What every adapter of the port `Keystore` promises."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from paycore.client.sealing import SealingKey
from paycore.domain.enrolment import enrolment_binding
from paycore.domain.pin import Pin
from paycore.domain.step_up import PaymentIntent, payment_digest
from paycore.runtime.hpke import SUITE
from signing_service.keystore import encrypted_file, pkcs11_token
from signing_service.keystore.key_ring import KeyRing
from signing_service.keystore.port import (
    KeyPurpose,
    Keystore,
    PublicKey,
    SealBrokenError,
    UnknownKeyError,
    WrappingBrokenError,
)
from tests.support import softhsm

INTENT = PaymentIntent("TRANSFER", 11, 12, 125_000, "EUR", "app", "order-1", 1_767_225_600_000_000)
PIN = Pin("739164")


def in_memory(_: Path) -> Keystore:
    return KeyRing.generate(now_us=1)


def in_a_file(folder: Path) -> Keystore:
    return encrypted_file.load_or_create(folder / "keys", b"a long enough passphrase", now_us=1)


def in_a_token(folder: Path) -> Keystore:
    hsm = softhsm.start(folder)
    label = hsm.token("contract")
    pkcs11_token.provision(hsm.module, label, softhsm.USER_PIN, now_us=1)
    return pkcs11_token.Pkcs11Token(hsm.module, label, softhsm.USER_PIN)


@pytest.fixture(params=[in_memory, in_a_file, in_a_token], scope="module")
def keystore(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Keystore:
    make: Callable[[Path], Keystore] = request.param
    return make(tmp_path_factory.mktemp("keystore"))


def public(keystore: Keystore, purpose: KeyPurpose) -> PublicKey:
    (key,) = (key for key in keystore.public_keys() if key.purpose is purpose and key.current)
    return key


def sealing(keystore: Keystore) -> SealingKey:
    key = public(keystore, KeyPurpose.SEALING)
    return SealingKey(key.key_id, key.public_key)


def test_a_signature_verifies_with_the_published_key_and_only_over_its_message(
    keystore: Keystore,
) -> None:
    published = public(keystore, KeyPurpose.AUTHORIZATION)
    assert published.key_id == keystore.signing_key_id
    key = Ed25519PublicKey.from_public_bytes(published.public_key)
    signature = keystore.sign(published.key_id, b"message")
    key.verify(signature, b"message")
    with pytest.raises(InvalidSignature):
        key.verify(signature, b"another message")


def test_a_pin_opens_with_the_payment_it_was_sealed_for(keystore: Keystore) -> None:
    sealed = sealing(keystore).for_payment(PIN, INTENT)
    opened = keystore.open_pin(sealed.key_id, sealed.ciphertext, payment_digest(INTENT))
    assert opened.reveal() == PIN.reveal()


def test_a_pin_opens_with_the_user_it_was_enrolled_for(keystore: Keystore) -> None:
    sealed = sealing(keystore).for_enrolment(PIN, "user-1")
    opened = keystore.open_pin(sealed.key_id, sealed.ciphertext, enrolment_binding("user-1"))
    assert opened.reveal() == PIN.reveal()


@pytest.mark.parametrize(
    "binding",
    [
        payment_digest(INTENT._replace(amount=125_001)),
        payment_digest(INTENT._replace(credit_account=13)),
        enrolment_binding("user-1"),
        b"",
    ],
)
def test_another_binding_does_not_open(keystore: Keystore, binding: bytes) -> None:
    sealed = sealing(keystore).for_payment(PIN, INTENT)
    with pytest.raises(SealBrokenError):
        keystore.open_pin(sealed.key_id, sealed.ciphertext, binding)


def test_no_altered_bit_of_a_sealed_pin_opens(keystore: Keystore) -> None:
    sealed, digest = sealing(keystore).for_payment(PIN, INTENT), payment_digest(INTENT)
    # The highest bit of an X25519 point is ignored when it is decoded (RFC 7748), but HPKE hashes
    # the encoded point, so even that one is noticed.
    for bit in range(len(sealed.ciphertext) * 8):
        altered = bytearray(sealed.ciphertext)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealBrokenError):
            keystore.open_pin(sealed.key_id, bytes(altered), digest)


@pytest.mark.parametrize("length", [0, 1, 32, 47, 48, 63, 65, 1_000])
def test_a_cut_or_padded_sealed_pin_does_not_open(keystore: Keystore, length: int) -> None:
    sealed = sealing(keystore).for_payment(PIN, INTENT)
    ciphertext = sealed.ciphertext[:length].ljust(length, b"\0")
    with pytest.raises(SealBrokenError):
        keystore.open_pin(sealed.key_id, ciphertext, payment_digest(INTENT))


def test_what_is_sealed_but_no_pin_does_not_open(keystore: Keystore) -> None:
    key = public(keystore, KeyPurpose.SEALING)
    ciphertext = SUITE.encrypt(
        b"not digits......", X25519PublicKey.from_public_bytes(key.public_key), info=b"binding"
    )
    with pytest.raises(SealBrokenError, match="no PIN inside"):
        keystore.open_pin(key.key_id, ciphertext, b"binding")


def test_keys_are_found_by_id_and_purpose_only(keystore: Keystore) -> None:
    sealed = sealing(keystore).for_payment(PIN, INTENT)
    for wrong in ("", "nothing", keystore.signing_key_id, keystore.pepper_id):
        with pytest.raises(SealBrokenError):
            keystore.open_pin(wrong, sealed.ciphertext, payment_digest(INTENT))
    for wrong in ("", "nothing", sealed.key_id, keystore.pepper_id):
        with pytest.raises(UnknownKeyError):
            keystore.sign(wrong, b"message")
    for wrong in ("", "nothing", sealed.key_id, keystore.signing_key_id):
        with pytest.raises(UnknownKeyError):
            keystore.pepper(wrong, b"message")


def test_the_pepper_is_a_key_that_is_not_published(keystore: Keystore) -> None:
    assert {key.purpose for key in keystore.public_keys()} == {
        KeyPurpose.SEALING,
        KeyPurpose.AUTHORIZATION,
    }
    peppered = keystore.pepper(keystore.pepper_id, b"message")
    assert len(peppered) == hashlib.sha256().digest_size
    assert peppered == keystore.pepper(keystore.pepper_id, b"message")
    assert peppered != hmac.digest(b"", b"message", "sha256")
    assert peppered != keystore.pepper(keystore.pepper_id, b"another message")


def test_the_inventory_has_every_key_and_one_in_use_of_each_purpose(keystore: Keystore) -> None:
    entries = keystore.inventory()
    assert {entry.key_id for entry in entries} >= {key.key_id for key in keystore.public_keys()}
    in_use_of = sorted(entry.purpose for entry in entries if entry.current)
    assert in_use_of == sorted(KeyPurpose)
    in_use = {entry.key_id for entry in entries if entry.current}
    assert in_use >= {keystore.signing_key_id, keystore.pepper_id}


def test_a_point_of_small_order_opens_nothing(keystore: Keystore) -> None:
    key = public(keystore, KeyPurpose.SEALING)
    for point in (bytes(32), b"\1" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"):
        with pytest.raises(SealBrokenError):
            keystore.open_pin(key.key_id, point + bytes(32), b"binding")
    assert keystore.sign(keystore.signing_key_id, b"message")


def test_a_data_key_unwraps_with_its_own_binding_only(keystore: Keystore) -> None:
    secret = bytes(range(32))
    wrapped = keystore.wrap(secret, b"row 1")
    assert keystore.unwrap(wrapped, b"row 1") == secret
    assert secret not in wrapped.wrapped
    assert keystore.wrap(secret, b"row 1").wrapped != wrapped.wrapped
    with pytest.raises(WrappingBrokenError):
        keystore.unwrap(wrapped, b"row 2")


def test_a_wrapped_key_that_is_altered_or_cut_does_not_unwrap(keystore: Keystore) -> None:
    whole = keystore.wrap(bytes(32), b"row 1")
    for place in range(len(whole.wrapped)):
        altered = bytearray(whole.wrapped)
        altered[place] ^= 1
        for broken in (bytes(altered), whole.wrapped[:place]):
            with pytest.raises(WrappingBrokenError):
                keystore.unwrap(whole._replace(wrapped=broken), b"row 1")


def test_a_wrapping_key_that_is_not_there_is_told(keystore: Keystore) -> None:
    wrapped = keystore.wrap(bytes(32), b"row 1")
    with pytest.raises(UnknownKeyError):
        keystore.unwrap(wrapped._replace(wrapping_key_id="wrapping-none"), b"row 1")


def test_wrapping_keys_are_not_published(keystore: Keystore) -> None:
    assert {key.purpose for key in keystore.public_keys()} == {
        KeyPurpose.SEALING,
        KeyPurpose.AUTHORIZATION,
    }

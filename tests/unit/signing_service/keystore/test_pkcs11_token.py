"""Keys in a token: rotated there, used after a fork, lost with it and found again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11.exceptions import AttributeSensitive

from paycore.client.sealing import SealingKey
from paycore.domain.enrolment import enrolment_binding
from paycore.domain.pin import Pin
from signing_service.keystore import pkcs11_token
from signing_service.keystore.pkcs11_token import Pkcs11Token
from signing_service.keystore.port import KeyPurpose, KeystoreError
from tests.support import softhsm
from tests.support.softhsm import USER_PIN, SoftHsm


@pytest.fixture(scope="module")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    return softhsm.start(tmp_path_factory.mktemp("softhsm"))


@pytest.fixture(scope="module")
def label(hsm: SoftHsm) -> str:
    label = hsm.token("paycore")
    pkcs11_token.provision(hsm.module, label, USER_PIN, now_us=1)
    return label


@pytest.fixture
def token(hsm: SoftHsm, label: str) -> Iterator[Pkcs11Token]:
    token = Pkcs11Token(hsm.module, label, USER_PIN)
    yield token
    token.close()


def verify(token: Pkcs11Token, key_id: str, signature: bytes, message: bytes) -> None:
    (key,) = (key for key in token.public_keys() if key.key_id == key_id)
    Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature, message)


def test_keys_are_made_once(hsm: SoftHsm, label: str, token: Pkcs11Token) -> None:
    pkcs11_token.provision(hsm.module, label, USER_PIN, now_us=2)
    assert Pkcs11Token(hsm.module, label, USER_PIN).inventory() == token.inventory()


def test_no_key_can_be_taken_out(hsm: SoftHsm, label: str) -> None:
    session = pkcs11_token.open_session(hsm.module, label, USER_PIN)
    secret = [
        key
        for object_class in (ObjectClass.PRIVATE_KEY, ObjectClass.SECRET_KEY)
        for key in session.get_objects({Attribute.CLASS: object_class})
    ]
    assert len(secret) >= len(KeyPurpose)
    for key in secret:
        assert key[Attribute.SENSITIVE]
        assert not key[Attribute.EXTRACTABLE]
        with pytest.raises(AttributeSensitive):
            key[Attribute.VALUE]
    session.close()


def test_a_new_key_is_published_at_once_and_used_at_its_time(
    hsm: SoftHsm, token: Pkcs11Token, label: str
) -> None:
    (sealing_key,) = (
        key for key in token.public_keys() if key.purpose is KeyPurpose.SEALING and key.current
    )
    sealed = SealingKey(sealing_key.key_id, sealing_key.public_key).for_enrolment(
        Pin("7391"), "user-1"
    )
    old_signature = token.sign(token.signing_key_id, b"m")
    old_pepper = token.pepper(token.pepper_id, b"m")
    later = pkcs11_token.rotate(
        hsm.module, label, USER_PIN, KeyPurpose.AUTHORIZATION, active_from_us=2**62
    )
    for purpose in KeyPurpose:
        pkcs11_token.rotate(hsm.module, label, USER_PIN, purpose, active_from_us=2)

    rotated = Pkcs11Token(hsm.module, label, USER_PIN)
    assert rotated.signing_key_id not in (token.signing_key_id, later.key_id)
    assert later.key_id in {key.key_id for key in rotated.public_keys()}
    assert rotated.pepper_id != token.pepper_id
    assert rotated.sign(token.signing_key_id, b"m") == old_signature
    assert rotated.pepper(token.pepper_id, b"m") == old_pepper
    binding = enrolment_binding("user-1")
    assert rotated.open_pin(sealed.key_id, sealed.ciphertext, binding).reveal() == "7391"


def test_a_child_opens_a_session_of_its_own(token: Pkcs11Token) -> None:
    key_id = token.signing_key_id
    ours = token.sign(key_id, b"message")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            inherited = token._session
            os.write(write, token.sign(key_id, b"message"))
            code = 0 if token._session is not inherited else 2
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        theirs = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    assert theirs == ours
    verify(token, key_id, theirs, b"message")
    assert token.sign(key_id, b"message") == ours


def test_a_session_that_ended_is_opened_again(token: Pkcs11Token) -> None:
    token._session.close()
    verify(token, token.signing_key_id, token.sign(token.signing_key_id, b"m"), b"m")


def test_an_empty_token_is_refused_until_it_has_its_keys(hsm: SoftHsm) -> None:
    label = hsm.token("empty")
    with pytest.raises(KeystoreError, match="no key of purpose"):
        Pkcs11Token(hsm.module, label, USER_PIN)


def test_a_wrong_pin_or_label_is_refused_without_repeating_it(hsm: SoftHsm) -> None:
    label = hsm.token("guarded")
    for name, pin in ((label, "a wrong PIN"), ("no such token", USER_PIN)):
        with pytest.raises(KeystoreError) as raised:
            Pkcs11Token(hsm.module, name, pin)
        assert pin not in str(raised.value)


def test_other_keys_in_the_token_are_left_alone(hsm: SoftHsm, label: str, tmp_path: Path) -> None:
    session = pkcs11_token.open_session(hsm.module, label, USER_PIN, write=True)
    session.generate_key(KeyType.AES, 256, label="another's", store=True)
    session.close()
    ids = {entry.key_id for entry in Pkcs11Token(hsm.module, label, USER_PIN).inventory()}
    assert all(key_id.split("-")[0].upper() in set(KeyPurpose) for key_id in ids)

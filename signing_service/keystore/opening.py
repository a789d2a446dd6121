"""The keystore that settings name."""

from __future__ import annotations

from signing_service.keystore import encrypted_file, pkcs11_token
from signing_service.keystore.port import KeyEntry, KeyPurpose, Keystore, KeystoreError
from signing_service.settings import KeystoreSettings


def open_keystore(settings: KeystoreSettings, now_us: int) -> Keystore:
    """The keys that `settings` name, made at first start. Raises KeystoreError, OSError.

    Called by the process that uses them: sessions of a token do not pass a fork.
    """
    match settings.keystore:
        case "file":
            assert settings.keystore_file is not None
            return encrypted_file.load_or_create(settings.keystore_file, _secret(settings), now_us)
        case "pkcs11":
            assert settings.pkcs11_module is not None
            token = (settings.pkcs11_module, settings.pkcs11_token, _secret(settings).decode())
            pkcs11_token.provision(*token, now_us)
            return pkcs11_token.Pkcs11Token(*token)


def open_existing(settings: KeystoreSettings) -> Keystore:
    """The keys that `settings` name; none is made. Raises KeystoreError, OSError."""
    match settings.keystore:
        case "file":
            assert settings.keystore_file is not None
            return encrypted_file.load(settings.keystore_file, _secret(settings))
        case "pkcs11":
            assert settings.pkcs11_module is not None
            return pkcs11_token.Pkcs11Token(
                settings.pkcs11_module, settings.pkcs11_token, _secret(settings).decode()
            )


def rotate(
    settings: KeystoreSettings, purpose: KeyPurpose, now_us: int, active_from_us: int
) -> KeyEntry:
    """Add a key of `purpose`, in use from `active_from_us` on. Raises KeystoreError, OSError."""
    match settings.keystore:
        case "file":
            assert settings.keystore_file is not None
            return encrypted_file.rotate(
                settings.keystore_file, _secret(settings), purpose, now_us, active_from_us
            )
        case "pkcs11":
            assert settings.pkcs11_module is not None
            return pkcs11_token.rotate(
                settings.pkcs11_module,
                settings.pkcs11_token,
                _secret(settings).decode(),
                purpose,
                active_from_us,
            )


def _secret(settings: KeystoreSettings) -> bytes:
    """What opens the keystore, from its file."""
    if settings.keystore == "file":
        assert settings.keystore_passphrase_file is not None
        return encrypted_file.read_passphrase(settings.keystore_passphrase_file)
    assert settings.pkcs11_pin_file is not None
    pin = settings.pkcs11_pin_file.read_bytes().rstrip(b"\r\n")
    if not pin.isascii() or not pin:
        raise KeystoreError(f"{settings.pkcs11_pin_file}: a token's PIN is ASCII")
    return pin

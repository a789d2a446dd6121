"""What the signing service can be told from outside: variables PAYCORE_SIGNING_*."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from paycore.runtime.settings import DatabaseSettings

_PREFIX = "PAYCORE_SIGNING_"


class KeystoreSettings(BaseSettings):
    """Where the secret keys are."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="ignore", hide_input_in_errors=True)

    keystore: Literal["file", "pkcs11"] = "file"
    keystore_file: Path | None = None
    """Created with new keys at first start."""
    keystore_passphrase_file: Path | None = None
    pkcs11_module: Path | None = None
    """The library of the token."""
    pkcs11_token: str = ""
    """The token's label; it gets new keys at first start where it has none."""
    pkcs11_pin_file: Path | None = None

    @model_validator(mode="after")
    def _keystore_is_stated(self) -> Self:
        if self.keystore == "file":
            if None in (self.keystore_file, self.keystore_passphrase_file):
                raise ValueError("keystore_file and keystore_passphrase_file are needed")
        elif None in (self.pkcs11_module, self.pkcs11_pin_file) or not self.pkcs11_token:
            raise ValueError("pkcs11_module, pkcs11_token and pkcs11_pin_file are needed")
        return self


class SigningSettings(DatabaseSettings, KeystoreSettings):
    """Settings of one signing process."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="ignore")

    postgres_connections: int = Field(default=8, ge=1, le=100)
    hashing_threads: int = Field(default=2, ge=1, le=64)
    """Each needs 19 MiB and a core while it hashes."""
    hashing_capacity: int = Field(default=64, ge=1, le=4_096)
    """Calls that hash or are about to; beyond it OVERLOADED."""

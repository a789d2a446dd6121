"""What the signing service can be told from outside: variables PAYCORE_SIGNING_*."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from paycore.runtime.settings import DatabaseSettings


class SigningSettings(DatabaseSettings):
    """Settings of one signing process."""

    model_config = SettingsConfigDict(env_prefix="PAYCORE_SIGNING_", extra="ignore")

    keystore_file: Path
    """Created with new keys at first start."""
    keystore_passphrase_file: Path
    postgres_connections: int = Field(default=8, ge=1, le=100)
    hashing_threads: int = Field(default=2, ge=1, le=64)
    """Each needs 19 MiB and a core while it hashes."""
    hashing_capacity: int = Field(default=64, ge=1, le=4_096)
    """Calls that hash or are about to; beyond it OVERLOADED."""

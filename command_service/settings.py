"""What the command service can be told from outside."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from paycore.runtime.settings import DatabaseSettings


class CommandSettings(DatabaseSettings):
    """Environment variables PAYCORE_COMMAND_*."""

    model_config = SettingsConfigDict(env_prefix="PAYCORE_COMMAND_", extra="ignore")

    redis_url: SecretStr
    signing_target: str
    """host:port of the signing service."""
    hash_key_file: Path
    """File with 32 random bytes in hex: the key of request and details hashes."""
    processes: int = Field(default=1, ge=1, le=64)
    """Processes that share the port."""
    queue_limit: int = Field(default=20_000, ge=1)
    """Commands that may wait in one process."""
    batch_limit: int = Field(default=500, ge=1, le=5_000)
    """Commands in one posting transaction."""
    batches_in_flight: int = Field(default=2, ge=1, le=16)
    """Posting transactions at once in one process."""
    client_rate_per_s: float = Field(default=100_000.0, gt=0)
    """Commands per second of one client, over all processes."""
    client_burst: int = Field(default=200_000, ge=1_000)
    """Commands of one client that may come at once."""

    def hash_key(self) -> bytes:
        """The key in `hash_key_file`. Raises ValueError when it is not 32 bytes in hex."""
        key = bytes.fromhex(self.hash_key_file.read_text(encoding="ascii").strip())
        if len(key) != 32:
            raise ValueError(f"{self.hash_key_file} does not hold 32 bytes in hex")
        return key

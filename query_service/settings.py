"""Settings of the query service, from environment variables `PAYCORE_QUERY_*`."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from paycore.runtime.settings import (
    DatabaseSettings,
    ElasticsearchSettings,
    is_safe_postgres,
)


class QuerySettings(DatabaseSettings, ElasticsearchSettings):
    """What the query service needs besides the settings common to all services."""

    model_config = SettingsConfigDict(env_prefix="PAYCORE_QUERY_", extra="ignore")

    page_token_key_file: Path
    """32 random bytes in hexadecimal; the same for every process of the service."""
    signing_target: str
    """host:port of the signing service, which has the keys of personal data."""
    watchers: int = Field(default=4_000, ge=1, le=100_000)
    """Watches at a time."""
    watchers_of_a_client: int = Field(default=2_000, ge=1, le=100_000)
    events_dsn: SecretStr | None = None
    """URL of the primary, for security events, where `postgres_dsn` is that of a replica."""

    @model_validator(mode="after")
    def _events_are_encrypted(self) -> Self:
        if self.environment == "production" and not is_safe_postgres(self.primary()):
            raise ValueError("events_dsn must be as safe as postgres_dsn in production")
        return self

    def primary(self) -> str:
        """Where security events are written."""
        return (self.events_dsn or self.postgres_dsn).get_secret_value()

    def page_token_key(self) -> bytes:
        """The key in `page_token_key_file`. Raises OSError or ValueError when there is none."""
        return bytes.fromhex(self.page_token_key_file.read_text(encoding="ascii").strip())

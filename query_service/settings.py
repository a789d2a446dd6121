"""Settings of the query service, from environment variables `PAYCORE_QUERY_*`."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from paycore.runtime.settings import DatabaseSettings


class QuerySettings(DatabaseSettings):
    """What the query service needs besides the settings common to all services."""

    model_config = SettingsConfigDict(env_prefix="PAYCORE_QUERY_", extra="ignore")

    elasticsearch_url: str
    elasticsearch_user: str = "elastic"
    elasticsearch_password: SecretStr
    elasticsearch_ca: Path | None = None
    """PEM file of the authority to trust, where the system's own do not do."""
    index_prefix: str = "paycore"
    page_token_key_file: Path
    """32 random bytes in hexadecimal; the same for every process of the service."""

    @model_validator(mode="after")
    def _index_is_encrypted(self) -> Self:
        if self.environment == "production" and not self.elasticsearch_url.startswith("https://"):
            raise ValueError("elasticsearch_url must be https in production")
        return self

    def page_token_key(self) -> bytes:
        """The key in `page_token_key_file`. Raises OSError or ValueError when there is none."""
        return bytes.fromhex(self.page_token_key_file.read_text(encoding="ascii").strip())

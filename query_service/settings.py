"""Settings of the query service, from environment variables `PAYCORE_QUERY_*`."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import SettingsConfigDict

from paycore.runtime.settings import DatabaseSettings, ElasticsearchSettings


class QuerySettings(DatabaseSettings, ElasticsearchSettings):
    """What the query service needs besides the settings common to all services."""

    model_config = SettingsConfigDict(env_prefix="PAYCORE_QUERY_", extra="ignore")

    page_token_key_file: Path
    """32 random bytes in hexadecimal; the same for every process of the service."""

    def page_token_key(self) -> bytes:
        """The key in `page_token_key_file`. Raises OSError or ValueError when there is none."""
        return bytes.fromhex(self.page_token_key_file.read_text(encoding="ascii").strip())

"""Settings of the query service, from environment variables `PAYCORE_QUERY_*`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from paycore.runtime.settings import (
    DatabaseSettings,
    ElasticsearchSettings,
    is_safe_postgres,
)
from query_service.positions import TOLERANCE_S


class QuerySettings(DatabaseSettings, ElasticsearchSettings):
    """What the query service needs besides the settings common to all services."""

    model_config = SettingsConfigDict(env_prefix="PAYCORE_QUERY_", extra="ignore")

    page_token_key_file: Path
    """32 random bytes in hexadecimal; the same for every process of the service."""
    signing_target: str
    """host:port of the signing service, which has the keys of personal data."""
    index_tolerance_s: float = Field(default=TOLERANCE_S, gt=0)
    """How far behind the ledger the index may be and answer, in seconds; the projector's
    PAYCORE_PROJECTOR_INDEX_RESET_PAUSE_S must be longer."""
    watchers: int = Field(default=4_000, ge=1, le=100_000)
    """Watches at a time."""
    watchers_of_a_client: int = Field(default=2_000, ge=1, le=100_000)
    trail: Literal["written", "logged"] = "written"
    """Whether calls that are denied are rows of the trail, or lines of the log alone."""
    trail_dsn: SecretStr | None = None
    """URL of the primary, as paycore_trail, who adds such rows and can do nothing else."""

    @model_validator(mode="after")
    def _trail_is_stated(self) -> Self:
        if self.environment != "production" or self.trail == "logged":
            return self
        if self.trail_dsn is None:
            raise ValueError("trail_dsn must be given in production, or trail=logged")
        if not is_safe_postgres(self.trail_dsn.get_secret_value()):
            raise ValueError("trail_dsn must be as safe as postgres_dsn in production")
        return self

    def page_token_key(self) -> bytes:
        """The key in `page_token_key_file`. Raises OSError or ValueError when there is none."""
        return bytes.fromhex(self.page_token_key_file.read_text(encoding="ascii").strip())

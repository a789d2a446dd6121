"""Settings of the local stack itself, from environment variables `PAYCORE_STACK_*`."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class StackSettings(BaseSettings):
    """Which parts run already elsewhere, and where the stack keeps its cache.

    A store whose address is given is used as it is and not embedded.
    """

    model_config = SettingsConfigDict(env_prefix="PAYCORE_STACK_", extra="ignore")

    postgres_dsn: SecretStr | None = None
    """DSN of an administrator of a PostgreSQL 18 server: may create roles and a database."""

    redis_url: SecretStr | None = None

    elasticsearch_url: str | None = None
    elasticsearch_user: str = "elastic"
    elasticsearch_password: SecretStr = SecretStr("")

    cache: Path | None = None
    """Where downloads are kept; see `deploy.local.cache`."""

    maven_mirror: str | None = None
    """URL of a Maven repository to fetch Elasticsearch from, instead of Maven Central."""

    run_as: str = "nobody"
    """User the stores run as when the stack is started by root."""

    read_side_niceness: int = Field(default=7, ge=0, le=19)
    """How far Elasticsearch and the projector step back when the cores are busy: they have machines
    of their own elsewhere, and here payments go first."""

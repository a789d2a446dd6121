"""What every service can be told from outside, by environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """Settings that all services share; each service sets its own prefix."""

    # A bad setting is named without its value: it may be a password in a DSN.
    model_config = SettingsConfigDict(extra="ignore", hide_input_in_errors=True)

    environment: Literal["local", "production"] = "production"
    listen: str = "127.0.0.1:7000"
    """host:port of gRPC."""
    metrics_listen: str = "127.0.0.1:9000"
    """host:port of the Prometheus endpoint."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    insecure: bool = False
    """Plain text without identities: only where the environment is not production."""
    reflection: bool = False
    access_file: Path | None = None
    """TOML table from client to the methods it may call; without it nobody may call any."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    shutdown_grace_s: float = Field(default=10.0, gt=0, le=300)
    """Bound on draining after SIGTERM, in seconds."""

    @model_validator(mode="after")
    def _transport_is_stated(self) -> Self:
        if self.insecure:
            if self.environment == "production":
                raise ValueError("insecure transport is refused in production")
        elif None in (self.tls_certificate, self.tls_key, self.tls_ca):
            raise ValueError("tls_certificate, tls_key and tls_ca are needed (or insecure=true)")
        return self

    def listen_port(self) -> int:
        """The port part of `listen`."""
        return split_address(self.listen)[1]


class DatabaseSettings(ServiceSettings):
    """Settings of a service that has a PostgreSQL role."""

    postgres_dsn: SecretStr


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port`. Raises ValueError when it is none."""
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit():
        raise ValueError(f"not host:port: {address!r}")
    return host, int(port)

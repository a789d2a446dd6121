"""What every service can be told from outside, by environment variables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import Field, SecretStr, ValidationError, model_validator
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
    """PEM bundle: while an authority is replaced, the old and the new one."""
    connection_age_s: float = Field(default=600.0, ge=1, le=86_400)
    """After so long, give or take a tenth, a connection is closed for new calls, and after as long
    again for the rest: the next one has the certificates of its day. In seconds."""
    insecure: bool = False
    """Plain text without identities: only where the environment is not production."""
    reflection: bool = False
    access_file: Path | None = None
    """TOML table from client to the methods it may call; without it nobody may call any."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    longest_call_s: float = Field(default=60.0, ge=1, le=600)
    """How long a call other than a stream waits at most, in seconds, whatever its caller allows."""
    events_window_s: float = Field(default=60.0, ge=0.1, le=3_600)
    """For so long security events that are alike make one row, in seconds."""
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
    """URL. In production with sslmode=verify-full or verify-ca, or the path of a Unix socket."""

    @model_validator(mode="after")
    def _database_is_encrypted(self) -> Self:
        dsn = self.postgres_dsn.get_secret_value()
        if self.environment == "production" and not is_safe_postgres(dsn):
            raise ValueError(
                "postgres_dsn must have sslmode=verify-full or verify-ca in production, "
                "or a Unix socket as its host"
            )
        return self


class RedisSettings(ServiceSettings):
    """Settings of a service that uses Redis."""

    redis_url: SecretStr
    """In production rediss://."""

    @model_validator(mode="after")
    def _redis_is_encrypted(self) -> Self:
        url = self.redis_url.get_secret_value()
        if self.environment == "production" and not is_safe_redis(url):
            raise ValueError(
                "redis_url must be rediss:// in production, and must not waive the certificate"
            )
        return self


class ElasticsearchSettings(ServiceSettings):
    """Settings of a service that uses Elasticsearch."""

    elasticsearch_url: str
    """In production https://."""
    elasticsearch_user: str = "elastic"
    """Empty: no credentials are sent."""
    elasticsearch_password: SecretStr
    elasticsearch_ca: Path | None = None
    """PEM file of the authority to trust, where the system's own do not do."""
    index_prefix: str = Field(default="paycore", pattern=r"^[a-z][a-z0-9_-]{0,63}$")

    @model_validator(mode="after")
    def _index_is_encrypted(self) -> Self:
        if self.environment == "production" and not self.elasticsearch_url.startswith("https://"):
            raise ValueError("elasticsearch_url must be https:// in production")
        return self

    @model_validator(mode="after")
    def _index_has_a_password(self) -> Self:
        if self.elasticsearch_user and not self.elasticsearch_password.get_secret_value():
            raise ValueError("elasticsearch_password must be given, or elasticsearch_user be empty")
        return self


S = TypeVar("S", bound=BaseSettings)


class SettingsError(SystemExit):
    """A process must not start as it is set up: a line for each variable that is wrong, without
    its value. Let through, it ends the process with these lines on stderr and exit code 1."""


def read_settings(kind: type[S]) -> S:
    """Settings of `kind` from the environment. Raises SettingsError."""
    try:
        return kind()
    except ValidationError as error:
        lines = [
            _in_variables(kind, ": ".join([*map(str, one["loc"]), one["msg"]]))
            for one in error.errors(include_url=False, include_input=False)
        ]
    raise SettingsError("\n".join(["cannot start:", *lines]))


def _in_variables(kind: type[BaseSettings], text: str) -> str:
    """`text` with the names of settings as the environment has them."""
    prefix = kind.model_config.get("env_prefix", "")
    names = "|".join(sorted(kind.model_fields, key=len, reverse=True))
    return re.sub(rf"\b({names})\b", lambda found: prefix + found[1].upper(), text)


def is_safe_postgres(dsn: str) -> bool:
    """Whether `dsn` lets asyncpg talk to nobody but a verified server or a local socket."""
    try:
        parts = urlsplit(dsn)
        query = parse_qs(parts.query)
    except ValueError:
        return False
    # All as asyncpg reads it: the last of a repeated parameter counts, hosts before the path win.
    if query.get("sslmode", [""])[-1] in ("verify-full", "verify-ca"):
        return True
    authority = parts.netloc.partition("@")[2] if "@" in parts.netloc else parts.netloc
    if authority:
        hosts = [unquote(host) for host in authority.split(",")]
    else:
        hosts = query.get("host", [""])[-1].split(",")
    return all(host.startswith("/") for host in hosts)


def is_safe_redis(url: str) -> bool:
    """Whether `url` lets redis-py talk to nobody but a verified server."""
    try:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
    except ValueError:
        return False
    return (
        url.startswith("rediss://")
        and query.get("ssl_cert_reqs", ["required"]) == ["required"]
        and query.get("ssl_check_hostname", ["true"]) == ["true"]
    )


def read_key(path: Path) -> bytes:
    """The 32 bytes that the file at `path` has in hexadecimal. Raises ValueError, OSError."""
    key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    if len(key) != 32:
        raise ValueError(f"{path} does not hold 32 bytes in hex")
    return key


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port`. Raises ValueError when it is none."""
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit():
        raise ValueError(f"not host:port: {address!r}")
    return host, int(port)

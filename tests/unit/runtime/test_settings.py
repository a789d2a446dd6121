"""Production refuses to send anything in plain text."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from command_service.settings import CommandSettings
from paycore.runtime.settings import (
    DatabaseSettings,
    ElasticsearchSettings,
    RedisSettings,
    ServiceSettings,
    is_safe_postgres,
    is_safe_redis,
)
from projector.settings import ProjectorSettings
from query_service.settings import QuerySettings
from signing_service.settings import SigningSettings

TLS = {"tls_certificate": Path("a.pem"), "tls_key": Path("a.key"), "tls_ca": Path("ca.pem")}
SAFE = {
    "postgres_dsn": "postgresql://paycore:canary@db/paycore?sslmode=verify-full",
    "redis_url": "rediss://:canary@cache:6379/0",
    "elasticsearch_url": "https://index:9200",
    "elasticsearch_password": "canary",
}
OPEN = {
    "postgres_dsn": "postgresql://paycore:canary@db/paycore",
    "redis_url": "redis://:canary@cache:6379/0",
    "elasticsearch_url": "http://elastic:canary@index:9200",
}
OWN = {
    "signing_target": "signing:7000",
    "hash_key_file": "hash.key",
    "trail_key_file": "trail.key",
    "trail_dsn": "postgresql://paycore_trail:canary@db/paycore?sslmode=verify-full",
    "keystore_file": "keystore",
    "keystore_passphrase_file": "passphrase",
    "page_token_key_file": "page.key",
}
STORES: list[tuple[type[ServiceSettings], str]] = [
    (DatabaseSettings, "postgres_dsn"),
    (RedisSettings, "redis_url"),
    (ElasticsearchSettings, "elasticsearch_url"),
    (CommandSettings, "postgres_dsn"),
    (CommandSettings, "redis_url"),
    (SigningSettings, "postgres_dsn"),
    (ProjectorSettings, "postgres_dsn"),
    (ProjectorSettings, "elasticsearch_url"),
    (ProjectorSettings, "redis_url"),
    (QuerySettings, "postgres_dsn"),
    (QuerySettings, "elasticsearch_url"),
]


@pytest.mark.parametrize(("settings", "store"), STORES)
def test_production_refuses_a_store_in_plain_text(
    settings: type[ServiceSettings], store: str
) -> None:
    with pytest.raises(ValidationError, match=f"{store} must") as refusal:
        settings.model_validate({**TLS, **SAFE, **OWN, store: OPEN[store]})
    assert "canary" not in str(refusal.value)


@pytest.mark.parametrize("settings", dict.fromkeys(settings for settings, _ in STORES))
def test_production_takes_stores_over_tls_and_local_ones_need_none(
    settings: type[ServiceSettings],
) -> None:
    assert settings.model_validate({**TLS, **SAFE, **OWN}).environment == "production"
    assert settings.model_validate({**TLS, **SAFE, **OPEN, **OWN, "environment": "local"})


@pytest.mark.parametrize(
    ("dsn", "safe"),
    [
        ("postgresql://u:p@db/paycore?sslmode=verify-full", True),
        ("postgres://u:p@db1:5432,db2:5433/paycore?sslmode=verify-ca&sslrootcert=ca.pem", True),
        ("postgresql:///paycore?host=/run/postgresql&user=u", True),
        ("postgresql:///paycore?host=/run/one,/run/two", True),
        ("postgresql://u:p@%2Frun%2Fpostgresql/paycore", True),
        ("postgresql://u:p@db/paycore", False),
        ("postgresql://u:p@127.0.0.1/paycore", False),
        ("postgresql://u:p@db/paycore?sslmode=require", False),
        ("postgresql://u:p@db/paycore?sslmode=prefer", False),
        ("postgresql://u:p@db/paycore?sslmode=disable", False),
        ("postgresql://u:p@db/paycore?sslmode=verify-full&sslmode=disable", False),
        ("postgresql://u:p@db/paycore?application_name=sslmode=verify-full", False),
        ("postgresql://u:p@db/paycore?host=/run/postgresql", False),
        ("postgresql://u:p@db@%2Frun%2Fpostgresql/paycore", False),
        ("postgresql://u:p@%2Frun%2Fpostgresql,db/paycore", False),
        ("postgresql:///paycore?host=/run/postgresql,db", False),
        ("postgresql:///paycore?host=%252Frun", False),
        # Without a host asyncpg tries sockets, then localhost over TCP.
        ("postgresql:///paycore", False),
        ("postgresql://u:p@[db/paycore", False),
        ("", False),
    ],
)
def test_a_dsn_is_safe_if_only_a_verified_server_or_a_socket_can_answer(
    dsn: str, safe: bool
) -> None:
    assert is_safe_postgres(dsn) is safe


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("rediss://cache:6379/0", True),
        ("rediss://:p@cache:6379/0?ssl_ca_certs=ca.pem&ssl_cert_reqs=required", True),
        ("rediss://cache?ssl_check_hostname=true", True),
        ("redis://cache:6379/0", False),
        ("redis://127.0.0.1", False),
        ("rediss://cache?ssl_cert_reqs=none", False),
        ("rediss://cache?ssl_cert_reqs=optional", False),
        ("rediss://cache?ssl_cert_reqs=none&ssl_cert_reqs=required", False),
        ("rediss://cache?ssl_check_hostname=false", False),
        ("rediss://[cache", False),
        ("", False),
    ],
)
def test_a_redis_url_is_safe_if_only_a_verified_server_can_answer(url: str, safe: bool) -> None:
    assert is_safe_redis(url) is safe

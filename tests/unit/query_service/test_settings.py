"""The query service's own settings."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from query_service.settings import QuerySettings


def settings(key_file: Path) -> QuerySettings:
    return QuerySettings(
        environment="local",
        tls_certificate=key_file,
        tls_key=key_file,
        tls_ca=key_file,
        postgres_dsn=SecretStr("postgresql://example"),
        elasticsearch_url="http://127.0.0.1:9200",
        elasticsearch_password=SecretStr("secret-canary"),
        page_token_key_file=key_file,
        signing_target="127.0.0.1:7003",
    )


def test_secrets_do_not_print(tmp_path: Path) -> None:
    assert "secret-canary" not in repr(settings(tmp_path))


def test_the_page_token_key_is_read_from_hexadecimal(tmp_path: Path) -> None:
    key_file = tmp_path / "page-token.key"
    key_file.write_text("ab" * 32 + "\n")
    assert settings(key_file).page_token_key() == b"\xab" * 32

"""Settings that would leave the index open are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from query_service.settings import QuerySettings


def settings(environment: str, url: str, key_file: Path) -> QuerySettings:
    return QuerySettings(
        environment=environment,
        tls_certificate=key_file,
        tls_key=key_file,
        tls_ca=key_file,
        postgres_dsn=SecretStr("postgresql://example"),
        elasticsearch_url=url,
        elasticsearch_password=SecretStr("secret-canary"),
        page_token_key_file=key_file,
    )


def test_production_wants_an_encrypted_index(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="https"):
        settings("production", "http://index:9200", tmp_path)
    assert settings("production", "https://index:9200", tmp_path)
    assert settings("local", "http://127.0.0.1:9200", tmp_path)


def test_secrets_do_not_print(tmp_path: Path) -> None:
    assert "secret-canary" not in repr(settings("local", "http://127.0.0.1:9200", tmp_path))


def test_the_page_token_key_is_read_from_hexadecimal(tmp_path: Path) -> None:
    key_file = tmp_path / "page-token.key"
    key_file.write_text("ab" * 32 + "\n")
    assert settings("local", "http://x", key_file).page_token_key() == b"\xab" * 32

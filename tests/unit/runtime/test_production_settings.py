"""A process that is set up wrongly says which variable is at fault, and does not start."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from command_service.settings import CommandSettings
from paycore.runtime.settings import ServiceSettings, SettingsError, read_settings
from projector.settings import ProjectorSettings
from query_service.settings import QuerySettings
from signing_service.settings import SigningSettings
from tests.unit.runtime.test_settings import OWN, SAFE, TLS

TRANSPORT = ("TLS_CERTIFICATE", "TLS_KEY", "TLS_CA")
INDEX = ("ELASTICSEARCH_URL", "ELASTICSEARCH_PASSWORD")
KEYSTORE = ("KEYSTORE_FILE", "KEYSTORE_PASSPHRASE_FILE")
HASHES = ("HASH_KEY_FILE", "TRAIL_KEY_FILE")
NEEDED: list[tuple[type[ServiceSettings], tuple[str, ...]]] = [
    (CommandSettings, (*TRANSPORT, "POSTGRES_DSN", "REDIS_URL", "SIGNING_TARGET", *HASHES)),
    (SigningSettings, (*TRANSPORT, "POSTGRES_DSN", *KEYSTORE)),
    (ProjectorSettings, (*TRANSPORT, "POSTGRES_DSN", "SIGNING_TARGET", *INDEX)),
    (
        QuerySettings,
        (*TRANSPORT, "POSTGRES_DSN", "SIGNING_TARGET", "PAGE_TOKEN_KEY_FILE", "TRAIL_DSN", *INDEX),
    ),
]
"""What a process in production does not start without."""

STORES = ("POSTGRES_DSN", "REDIS_URL", "TRAIL_DSN", *INDEX)
"""Of which an empty text is as bad as none. A file or an address that leads nowhere is found out
when it is opened."""

GIVEN = {name.upper(): str(value) for name, value in {**TLS, **SAFE, **OWN}.items()}


def set_up(
    monkeypatch: pytest.MonkeyPatch, settings: type[ServiceSettings], **changes: str | None
) -> str:
    """An environment with all that there is, but for `changes`; the prefix of its variables."""
    prefix = str(settings.model_config.get("env_prefix"))
    for name in [name for name in os.environ if name.startswith("PAYCORE_")]:
        monkeypatch.delenv(name)
    for name, value in {**GIVEN, **changes}.items():
        if value is not None:
            monkeypatch.setenv(prefix + name, value)
    return prefix


@pytest.mark.parametrize(
    ("settings", "absent", "value"),
    [(settings, name, None) for settings, names in NEEDED for name in names]
    + [(settings, name, "") for settings, names in NEEDED for name in names if name in STORES],
)
def test_production_does_not_start_without_what_it_needs_and_names_the_variable(
    monkeypatch: pytest.MonkeyPatch,
    settings: type[ServiceSettings],
    absent: str,
    value: str | None,
) -> None:
    prefix = set_up(monkeypatch, settings, **{absent: value})
    with pytest.raises(SettingsError, match=rf"\b{prefix}{absent}\b") as refused:
        read_settings(settings)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("settings", [settings for settings, _ in NEEDED])
def test_production_starts_with_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, settings: type[ServiceSettings]
) -> None:
    set_up(monkeypatch, settings)
    assert read_settings(settings).environment == "production"


@pytest.mark.parametrize("settings", [settings for settings, _ in NEEDED])
def test_production_takes_no_plain_text(
    monkeypatch: pytest.MonkeyPatch, settings: type[ServiceSettings]
) -> None:
    prefix = set_up(monkeypatch, settings, INSECURE="true")
    with pytest.raises(SettingsError, match=f"{prefix}INSECURE"):
        read_settings(settings)


def test_denied_calls_are_only_logged_where_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    set_up(monkeypatch, QuerySettings, TRAIL_DSN=None, TRAIL="logged")
    assert read_settings(QuerySettings).trail_dsn is None


def test_without_a_user_the_index_needs_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    set_up(monkeypatch, ProjectorSettings, ELASTICSEARCH_USER="", ELASTICSEARCH_PASSWORD="")
    assert read_settings(ProjectorSettings).elasticsearch_user == ""


@pytest.mark.parametrize(
    ("service", "settings", "absent"),
    [
        ("query_service", QuerySettings, "TRAIL_DSN"),
        ("projector", ProjectorSettings, "ELASTICSEARCH_PASSWORD"),
        ("signing_service", SigningSettings, "POSTGRES_DSN"),
        ("command_service", CommandSettings, "TLS_KEY"),
    ],
)
def test_a_process_says_in_a_line_why_it_does_not_start(
    monkeypatch: pytest.MonkeyPatch, service: str, settings: type[ServiceSettings], absent: str
) -> None:
    prefix = set_up(monkeypatch, settings, **{absent: None})
    ended = subprocess.run(
        [sys.executable, "-m", service], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    said = ended.stderr.splitlines()
    assert said[0] == "cannot start:"
    assert f"{prefix}{absent}" in said[1]
    assert len(said) == 2
    assert "canary" not in ended.stdout + ended.stderr

"""Secrets are made once, kept, closed to others, and never printed."""

import json
import stat
from pathlib import Path

import pytest

from deploy.local.errors import StateUnreadableError
from deploy.local.state import ROLES, StateFolder, default_state, ensure_secrets


@pytest.fixture
def state(folder: Path) -> StateFolder:
    state = StateFolder(folder / "state")
    state.create()
    return state


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_are_closed_to_other_users(state: StateFolder) -> None:
    for folder in (state.root, state.tls, state.keys, state.logs):
        assert mode(folder) == 0o700


def test_every_secret_file_is_closed_to_other_users(state: StateFolder) -> None:
    ensure_secrets(state)

    files = [path for path in state.root.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {
        "secrets.json",
        "role-passwords.json",
        "hash.key",
        "trail.key",
        "page-token.key",
        "keystore.passphrase",
    }
    assert {mode(path) for path in files} == {0o600}


def test_secrets_stay_the_same_over_starts(state: StateFolder) -> None:
    first = ensure_secrets(state)
    keys = {path.name: path.read_text() for path in state.keys.iterdir()}

    second = ensure_secrets(state)

    assert second == first
    assert {path.name: path.read_text() for path in state.keys.iterdir()} == keys


def test_every_secret_differs(state: StateFolder) -> None:
    made = ensure_secrets(state)

    values = [made.postgres_admin, made.redis, made.elasticsearch, *made.roles.values()]
    values += made.redis_users.values()
    keys = (state.hash_key_file, state.page_token_key_file, state.trail_key_file)
    values += [path.read_text() for path in keys]
    assert set(made.roles) == set(ROLES)
    assert len(set(values)) == len(values)


def test_keys_are_32_bytes_in_hexadecimal(state: StateFolder) -> None:
    ensure_secrets(state)

    assert len(bytes.fromhex(state.hash_key_file.read_text())) == 32
    assert len(bytes.fromhex(state.page_token_key_file.read_text())) == 32
    assert len(bytes.fromhex(state.trail_key_file.read_text())) == 32


def test_a_secret_that_an_older_stack_did_not_have_is_added(state: StateFolder) -> None:
    first = ensure_secrets(state)
    stored = json.loads(state.secrets_file.read_text())
    del stored["roles"]["paycore_audit"], stored["redis"]
    state.secrets_file.write_text(json.dumps(stored))

    second = ensure_secrets(state)

    assert second.postgres_admin == first.postgres_admin
    assert second.roles["paycore_command"] == first.roles["paycore_command"]
    assert second.roles["paycore_audit"]
    assert second.redis


def test_lost_secrets_of_existing_data_are_not_replaced(state: StateFolder) -> None:
    ensure_secrets(state)
    state.secrets_file.unlink()
    state.part("postgres").mkdir()

    with pytest.raises(StateUnreadableError, match="bring the file back"):
        ensure_secrets(state)


def test_a_damaged_secrets_file_is_reported_by_name(state: StateFolder) -> None:
    state.secrets_file.write_text("{")

    with pytest.raises(StateUnreadableError, match=r"secrets\.json is not JSON"):
        ensure_secrets(state)


def test_printing_secrets_shows_none(state: StateFolder) -> None:
    made = ensure_secrets(state)

    assert made.redis not in repr(made)
    assert made.postgres_admin not in repr(made)


def test_the_state_folder_can_be_named_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.delenv("PAYCORE_STATE", raising=False)
    assert default_state() == Path(".paycore")

    monkeypatch.setenv("PAYCORE_STATE", str(folder))
    assert default_state() == folder

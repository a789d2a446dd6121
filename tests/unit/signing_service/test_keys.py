"""Keys are listed, rotated and published from the command line, of a file and of a token."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from operations import verify_authorization
from signing_service import keys
from signing_service.keystore import encrypted_file, pkcs11_token
from tests.support import softhsm

Command = Callable[..., tuple[int, str, str]]

PASSPHRASE = "a passphrase for tests"


@pytest.fixture(params=["file", "pkcs11"])
def command(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """Runs one command on a keystore of its own: exit code, output, errors."""
    secret = tmp_path / "secret"
    settings: dict[str, object] = {"KEYSTORE": request.param}
    if request.param == "file":
        # What a guess costs is not the point here.
        monkeypatch.setattr(encrypted_file, "_SCRYPT_N", 2**4)
        secret.write_text(PASSPHRASE + "\n")
        path = tmp_path / "keys"
        encrypted_file.load_or_create(path, PASSPHRASE.encode(), now_us=1)
        settings |= {"KEYSTORE_FILE": path, "KEYSTORE_PASSPHRASE_FILE": secret}
    else:
        secret.write_text(softhsm.USER_PIN + "\n")
        hsm = softhsm.start(tmp_path)
        label = hsm.token("keys")
        pkcs11_token.provision(hsm.module, label, softhsm.USER_PIN, now_us=1)
        settings |= {
            "PKCS11_MODULE": hsm.module,
            "PKCS11_TOKEN": label,
            "PKCS11_PIN_FILE": secret,
        }
    for name, value in settings.items():
        monkeypatch.setenv(f"PAYCORE_SIGNING_{name}", str(value))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["keys", *arguments])
        code = keys.main()
        written = capsys.readouterr()
        return code, written.out, written.err

    return run


def test_a_rotation_is_listed_and_published_before_it_is_used(
    command: Command, tmp_path: Path
) -> None:
    code, before, _ = command("list")
    assert code == 0
    assert before.count("in use") == len(before.splitlines()) == 4
    for purpose in ("authorization", "sealing", "pepper", "wrapping"):
        code, added, _ = command("rotate", purpose)
        assert code == 0
        assert purpose.upper() in added
        assert "in use" not in added
    _, after, _ = command("list")
    assert set(before.splitlines()) < set(after.splitlines())
    assert (after.count("in use"), len(after.splitlines())) == (4, 8)

    file = tmp_path / "keys.json"
    assert command("publish", str(file))[0] == 0
    published = json.loads(file.read_text())["keys"]
    assert len(published) == 4
    assert not any(key["keyId"].startswith(("pepper", "wrapping")) for key in published)
    assert sorted(key.get("current", False) for key in published) == [False, False, True, True]
    assert len(verify_authorization.read_keys(file.read_text())) == 2


def test_a_rotation_at_once_is_in_use(command: Command) -> None:
    command("rotate", "sealing", "--in", "0")
    _, listed, _ = command("list")
    assert [line.endswith("in use") for line in listed.splitlines() if "SEALING" in line] == [
        False,
        True,
    ]


def test_a_mistake_says_what_and_changes_nothing(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, before, _ = command("list")
    for arguments in (("rotate", "nothing"), ("rotate", "pepper", "--in", "-1")):
        code, _, said = command(*arguments)
        assert code == 1
        assert said
    assert command("list")[1] == before
    wrong = tmp_path / "wrong"
    wrong.write_text("another passphrase or PIN")
    for name in ("KEYSTORE_PASSPHRASE_FILE", "PKCS11_PIN_FILE"):
        monkeypatch.setenv(f"PAYCORE_SIGNING_{name}", str(wrong))
    code, _, said = command("rotate", "pepper")
    assert code == 1
    assert "another" not in said
    monkeypatch.delenv("PAYCORE_SIGNING_KEYSTORE")
    monkeypatch.setenv("PAYCORE_SIGNING_KEYSTORE_FILE", str(tmp_path / "nowhere"))
    assert command("list")[0] == 1
    assert not (tmp_path / "nowhere").exists()

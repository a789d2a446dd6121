"""Root never runs a store; where a folder is closed to its user, the weakest way in is chosen."""

import os
import pwd
from pathlib import Path

import pytest

from deploy.local.errors import PrivilegeError
from deploy.local.privileges import (
    CAP_DAC_OVERRIDE,
    CAP_DAC_READ_SEARCH,
    RunAs,
    capability_needed,
    run_as,
)
from deploy.local.process import Launch, run_once

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root drops rights")
NOBODY = pwd.getpwnam("nobody")
USER = RunAs("nobody", NOBODY.pw_uid, NOBODY.pw_gid)


def test_only_root_runs_the_stores_as_another_user() -> None:
    assert run_as("nobody") == (USER if os.geteuid() == 0 else None)


@as_root
@pytest.mark.parametrize("user", ["root", "no-such-user"])
def test_root_without_a_user_to_drop_to_is_told_so(user: str) -> None:
    with pytest.raises(PrivilegeError, match="cannot run as root"):
        run_as(user)


def test_open_folders_need_no_capability(folder: Path) -> None:
    folder.chmod(0o711)

    assert capability_needed(USER, [folder / "data"]) is None


@as_root
def test_a_closed_folder_above_needs_one(folder: Path) -> None:
    folder.chmod(0o700)

    assert capability_needed(USER, [folder / "data"]) in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE)


@as_root
def test_a_closed_folder_of_the_user_itself_needs_none(folder: Path) -> None:
    os.chown(folder, USER.uid, USER.gid)
    folder.chmod(0o700)

    assert capability_needed(USER, [folder / "data"]) is None


@as_root
def test_a_dropped_process_has_no_right_but_to_reach_its_folders(folder: Path) -> None:
    folder.chmod(0o700)
    own = folder / "own"
    own.mkdir(mode=0o700)
    os.chown(own, USER.uid, USER.gid)
    # Written through the closed folder, and asked for by access(2), as Java does.
    script = (
        "id -u; id -g; grep -E 'CapEff|CapBnd' /proc/self/status;"
        f" echo here > {own}/file && test -r {own}/file && echo readable;"
        " kill -0 1 2>/dev/null || echo powerless"
    )
    launch = Launch(argv=["/bin/sh", "-c", script], cwd=own, user=USER, reaches=[own])

    assert run_once(launch, folder / "log", 10) == 0

    lines = (folder / "log").read_text().split("\n")
    assert lines[:2] == [str(USER.uid), str(USER.gid)]
    effective = int(lines[2].split()[1], 16)
    assert effective in (1 << CAP_DAC_READ_SEARCH, 1 << CAP_DAC_OVERRIDE)
    assert lines[4:6] == ["readable", "powerless"]


@as_root
def test_a_dropped_process_without_need_has_no_right_at_all(folder: Path) -> None:
    folder.chmod(0o711)
    script = "grep CapEff /proc/self/status"
    launch = Launch(argv=["/bin/sh", "-c", script], cwd=folder, user=USER, reaches=[folder])

    run_once(launch, folder / "log", 10)

    assert int((folder / "log").read_text().split()[1], 16) == 0

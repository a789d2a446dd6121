"""A killed run's folder goes with the next run, and nobody else's does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.events import PartState
from deploy.local.identity import ProcessIdentity
from deploy.local.record import PartRecord, StackRecord
from tests.support.run_folder import OWNER, PREFIX, STACK, remove_left_behind, run_folder

RUN = """
import os, signal, sys
from pathlib import Path
from tests.support.run_folder import run_folder
with run_folder(Path(sys.argv[1])) as folder:
    (folder / "kept" / "deep").mkdir(parents=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""

GONE = ProcessIdentity(pid=os.getpid(), started="before this process")
"""A process whose id was given to another since."""


def folder(place: Path, name: str, owner: str | None) -> Path:
    made = place / f"{PREFIX}{name}"
    made.mkdir()
    if owner is not None:
        (made / OWNER).write_text(owner)
    return made


def test_what_a_killed_run_left_goes_when_the_next_one_starts(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", RUN, str(tmp_path)], check=False, timeout=60)
    (left,) = tmp_path.iterdir()
    with run_folder(tmp_path) as own:
        assert list(tmp_path.iterdir()) == [own]
        assert not left.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_living_run_keeps_its_folder(tmp_path: Path) -> None:
    with run_folder(tmp_path) as first, run_folder(tmp_path) as second:
        assert first.is_dir()
        assert second.is_dir()
        assert remove_left_behind(tmp_path) == []


def test_a_folder_goes_though_its_run_s_id_is_in_use_again(tmp_path: Path) -> None:
    left = folder(tmp_path, "left", GONE.model_dump_json())
    assert remove_left_behind(tmp_path) == [left]
    assert not left.exists()


@pytest.mark.parametrize("owner", [None, "", "{}", '{"pid": 1'])
def test_a_folder_that_does_not_say_whose_it_is_stays(tmp_path: Path, owner: str | None) -> None:
    unclear = folder(tmp_path, "unclear", owner)
    assert remove_left_behind(tmp_path) == []
    assert unclear.is_dir()


def test_a_folder_stays_while_something_that_its_run_started_lives(tmp_path: Path) -> None:
    left = folder(tmp_path, "left", GONE.model_dump_json())
    part = PartRecord(
        state=PartState.READY, restarts=0, process=ProcessIdentity.own(), log=left / "log"
    )
    (left / STACK).write_text(StackRecord(parts={"postgres": part}).model_dump_json())
    assert remove_left_behind(tmp_path) == []
    (left / STACK).write_text(StackRecord().model_dump_json())
    assert remove_left_behind(tmp_path) == [left]


def test_other_folders_are_not_touched(tmp_path: Path) -> None:
    other = tmp_path / "paycore-bench-x"
    other.mkdir()
    (other / OWNER).write_text(GONE.model_dump_json())
    assert remove_left_behind(tmp_path) == []
    assert other.is_dir()

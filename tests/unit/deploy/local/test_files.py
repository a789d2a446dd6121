"""Files are replaced whole, closed to others, and nothing is left of a failed write."""

import os
import stat
from pathlib import Path

import pytest

from deploy.local.files import tail, write_private


def test_a_file_is_replaced_and_closed_to_other_users(folder: Path) -> None:
    path = folder / "secret"
    path.write_text("old")
    path.chmod(0o644)

    write_private(path, "new")

    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(folder) == ["secret"]


def test_a_failed_write_leaves_nothing_behind(folder: Path) -> None:
    (folder / "taken").mkdir()

    with pytest.raises(IsADirectoryError):
        write_private(folder / "taken", "text")

    assert os.listdir(folder) == ["taken"]


def test_a_readers_open_file_keeps_its_old_text(folder: Path) -> None:
    path = folder / "record"
    write_private(path, "first")
    with path.open() as reader:
        write_private(path, "second")
        assert reader.read() == "first"
    assert path.read_text() == "second"


def test_the_tail_is_the_last_lines(folder: Path) -> None:
    path = folder / "log"
    path.write_text("".join(f"line {number}\n" for number in range(10_000)))

    assert tail(path, lines=2) == "line 9998\nline 9999"
    assert tail(folder / "absent") == ""

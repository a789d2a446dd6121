"""The temporary folder of a test run, and those that killed runs left behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from deploy.local.errors import StateUnreadableError
from deploy.local.identity import ProcessIdentity
from deploy.local.record import read_record

PREFIX = "paycore-tests-"
OWNER = "run.json"
"""Says whose a folder is: the id of the run's process together with its start."""

STACK = "stack.json"


@contextmanager
def run_folder(place: Path | None = None) -> Iterator[Path]:
    """A folder in `place`, by default the system's for such; gone at the end.

    First the folders go whose runs were killed, for those could not clean up.
    """
    place = place or Path(tempfile.gettempdir())
    remove_left_behind(place)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=place) as name:
        folder = Path(name)
        (folder / OWNER).write_text(ProcessIdentity.own().model_dump_json())
        yield folder


def remove_left_behind(place: Path) -> list[Path]:
    """Remove the folders in `place` of runs that are gone, with all they started; which they were.

    A folder that does not say whose it is stays: its run may be about to.
    """
    left = [folder for folder in sorted(place.glob(f"{PREFIX}*")) if _is_left_behind(folder)]
    for folder in left:
        # Another run may be removing it too.
        shutil.rmtree(folder, ignore_errors=True)
    return left


def _is_left_behind(folder: Path) -> bool:
    try:
        owner = ProcessIdentity.model_validate_json((folder / OWNER).read_text())
        stack = read_record(folder / STACK)
    except (OSError, ValidationError, StateUnreadableError):
        return False
    # What a killed run had started ends with it, but takes a moment.
    processes = [owner, stack.supervisor, *(part.process for part in stack.parts.values())]
    return not any(process.is_alive() for process in processes if process is not None)

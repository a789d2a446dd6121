"""A disk that is soon full: a file system in memory of a size that is chosen, at one folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PAGE_BYTES = 4096
TRIES = 50


class NoSmallDiskError(Exception):
    """This process may not mount anything."""


class SmallDisk:
    """Fills up when told to."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Leave no page: whoever else writes meanwhile only takes what this leaves for a moment."""
        descriptor = os.open(self._filler, os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            for _ in range(TRIES):
                free = shutil.disk_usage(self._filler.parent).free
                if free < PAGE_BYTES:
                    return
                # It may be gone by the time it is asked for.
                with suppress(OSError):
                    os.posix_fallocate(descriptor, os.fstat(descriptor).st_size, free)
        finally:
            os.close(descriptor)

    def clear(self) -> None:
        """Make room again."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mount it at `folder`; all that is written there is gone afterwards.

    Raises NoSmallDiskError where that is not allowed: it takes root.
    """
    if os.geteuid() != 0:
        raise NoSmallDiskError("only root may mount a disk of limited size")
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={megabytes}m,mode=700"
    command = ["mount", "-t", "tmpfs", "-o", options, "paycore-tests", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoSmallDiskError(f"a disk of limited size cannot be mounted: {done.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True, capture_output=True)

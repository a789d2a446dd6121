"""Files written whole or not at all, readable by their owner only."""

import os
import tempfile
from pathlib import Path

PRIVATE_FOLDER = 0o700


def private_folder(path: Path) -> Path:
    """Make `path` and its parents; `path` itself is closed to other users."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(PRIVATE_FOLDER)
    return path


def write_private(path: Path, content: str | bytes) -> None:
    """Replace `path` atomically, mode 0600: a reader sees the old text or the new one.

    The content is on disk before the name changes, so a crash leaves no empty file.
    """
    data = content.encode() if isinstance(content, str) else content
    # mkstemp creates with mode 0600.
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def tail(path: Path, lines: int = 20, at_most_bytes: int = 16_384) -> str:
    """Return the last `lines` of a log, or nothing where there is no log yet."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - at_most_bytes))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])

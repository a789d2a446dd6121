"""The generated parts of a document, each between two markers that name it."""

from __future__ import annotations

from pathlib import Path


def markers(name: str) -> tuple[str, str]:
    """The lines around the part that `make NAME SAVE=1` writes."""
    return f"<!-- {name}: begin (written by make {name} SAVE=1) -->", f"<!-- {name}: end -->"


BENCH = "bench"
BEGIN, END = markers(BENCH)


class MarkersError(Exception):
    """A document does not hold the two markers once each, in order."""


def with_section(text: str, body: str, name: str = BENCH) -> str:
    """`text` with `body` as the part `name`, all else as it was. Raises MarkersError."""
    begin, end = markers(name)
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise MarkersError(f"the document needs one line {begin!r} and one {end!r} after it")
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n\n{body.strip()}\n\n{end}{after}"


def save_section(path: Path, body: str, name: str = BENCH) -> None:
    """Replace the generated part `name` of the document at `path`.

    Raises MarkersError, and FileNotFoundError where there is no document.
    """
    path.write_text(with_section(path.read_text(encoding="utf-8"), body, name), encoding="utf-8")

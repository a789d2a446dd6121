"""The generated part of a document, between two markers."""

from __future__ import annotations

from pathlib import Path

BEGIN = "<!-- bench: begin (written by make bench SAVE=1) -->"
END = "<!-- bench: end -->"


class MarkersError(Exception):
    """A document does not hold the two markers once each, in order."""


def with_section(text: str, body: str) -> str:
    """`text` with `body` between the markers, all else as it was. Raises MarkersError."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise MarkersError(f"the document needs one line {BEGIN!r} and one {END!r} after it")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{body.strip()}\n\n{END}{after}"


def save_section(path: Path, body: str) -> None:
    """Replace the generated part of the document at `path`.

    Raises MarkersError, and FileNotFoundError where there is no document.
    """
    path.write_text(with_section(path.read_text(encoding="utf-8"), body), encoding="utf-8")

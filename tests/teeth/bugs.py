"""The planted bugs: patches with a head that says what is wrong and which tests must catch it.

The head is made of lines `Name: value` before the first file of the diff:

- Bug: what it is, in one line.
- Caught by: the node id of a test that must fail; several lines name several tests, and each must.
  A test with parameters is named without them: one of its cases must fail.
- Fails with: the exception that ends the test, where that is no assertion of its own.
- Note: whatever else a reader should know, such as what else of the tree had to be switched off.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUGS = Path("tests") / "teeth" / "bugs"
"""Where they lie in a tree."""

_BUG, _CAUGHT_BY, _FAILS_WITH, _NOTE = "Bug", "Caught by", "Fails with", "Note"
_ONCE = (_BUG, _FAILS_WITH)
_DIFF = ("diff ", "--- ")
_CHANGED = "+++ b/"


class TeethError(Exception):
    """A run that shows nothing: a patch, a copy or a test is not what it should be."""


@dataclass(frozen=True, slots=True)
class Bug:
    """One planted bug."""

    name: str
    """Of its file, without the suffix."""
    what: str
    tests: tuple[str, ...]
    """Node ids; each must fail."""
    patch: Path
    paths: tuple[str, ...]
    """Of the files that it changes, in the tree."""
    fails_with: str | None = None
    note: str = ""


def read_bugs(tree: Path = ROOT, only: Collection[str] = ()) -> list[Bug]:
    """The bugs of `tree` by name, all or `only` those. Raises TeethError."""
    bugs = {path.stem: read_bug(path) for path in sorted((tree / BUGS).glob("*.patch"))}
    if unknown := sorted(set(only) - bugs.keys()):
        raise TeethError(f"no bug {', '.join(unknown)}; there are {', '.join(bugs)}")
    return [bug for name, bug in bugs.items() if not only or name in only]


def read_bug(path: Path) -> Bug:
    """The bug in the file at `path`. Raises TeethError where its head is not as it should be."""
    lines = path.read_text(encoding="utf-8").splitlines()
    begin = next((at for at, line in enumerate(lines) if line.startswith(_DIFF)), None)
    if begin is None:
        raise TeethError(f"{path.name}: holds no diff")
    said = _head(path, lines[:begin])
    for name in _ONCE:
        if len(said[name]) > 1:
            raise TeethError(f"{path.name}: {name!r} stands more than once")
    if not said[_BUG] or not said[_CAUGHT_BY]:
        raise TeethError(f"{path.name}: {_BUG!r} and {_CAUGHT_BY!r} must both be said")
    return Bug(
        path.stem,
        said[_BUG][0],
        tuple(said[_CAUGHT_BY]),
        path,
        tuple(line.removeprefix(_CHANGED) for line in lines[begin:] if line.startswith(_CHANGED)),
        next(iter(said[_FAILS_WITH]), None),
        " ".join(said[_NOTE]),
    )


def _head(path: Path, lines: Sequence[str]) -> dict[str, list[str]]:
    said: dict[str, list[str]] = {_BUG: [], _CAUGHT_BY: [], _FAILS_WITH: [], _NOTE: []}
    for line in filter(None, lines):
        name, colon, value = line.partition(": ")
        if name not in said or not colon or not value.strip():
            raise TeethError(f"{path.name}: no line of a head: {line!r}")
        said[name].append(value.strip())
    return said

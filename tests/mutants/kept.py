"""What runs over the same code have seen, so that another need not judge it again.

A change that a test saw is seen for as long as the code and the test stay. Code that is another
starts anew; that a test went or grew weaker only a whole run notices.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from tests.mutants.changes import Change, End, Judged
from tests.mutants.parts import Part


class Kept:
    """Verdicts in a file, which is of one state of the code."""

    def __init__(self, path: Path, tree: Path, part: Part) -> None:
        """`part` of `tree` is the code."""
        self._path = path
        self._code = _digest(tree / part.folder)

    def read(self) -> dict[Change, Judged]:
        """What was seen of this code; nothing where the file is of other code."""
        found: dict[Change, Judged] = {}
        if not self._path.exists():
            return found
        for line in self._path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["code"] == self._code:
                judged = Judged(End(row["end"]), row["by"], row["round"])
                found[Change(**row["change"])] = judged
        return found

    def forget(self) -> None:
        """Begin anew."""
        self._path.unlink(missing_ok=True)

    def add(self, verdicts: Mapping[Change, Judged]) -> None:
        """Keep those of `verdicts` that were seen."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            for change, judged in verdicts.items():
                if not judged.lives:
                    row = {
                        "code": self._code,
                        "change": asdict(change),
                        "end": judged.end,
                        "by": judged.by,
                        "round": judged.round,
                    }
                    file.write(json.dumps(row) + "\n")


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(f"{path.name}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]

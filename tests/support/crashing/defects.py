"""What services logged of failures that they had not foreseen."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path


def logged_defects(logs: Iterable[Path]) -> list[str]:
    """Each failure in `logs` that callers were told of by an error id: what it was, and where.

    Lines that are no JSON, an interpreter's last words, are passed over.
    """
    found: list[str] = []
    for path in logs:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if '"error_id"' not in line:
                continue
            try:
                record = json.loads(line)
            except ValueError:
                # The line was cut off by the end of its process.
                continue
            what = record.get("rule") or record.get("exception")
            found.append(f"{path.stem}: {record.get('event')}: {what}")
    return found

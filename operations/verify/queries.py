"""The queries of verification, from their files."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import database

FILES = (
    "verify",
    "verify_entries",
    "verify_transfers",
    "verify_outcomes",
    "verify_enforcement",
    "verify_since",
)


def load_queries() -> Any:
    """All of them by name, as `database.load` gives those of one file."""
    found: dict[str, Any] = {}
    for file in FILES:
        found.update(vars(database.load(file)))
    return SimpleNamespace(**found)

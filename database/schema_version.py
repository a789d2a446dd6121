"""Which schema this code was made for: told by the migrations that it comes with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_VERSIONS = Path(__file__).parent / "migrations" / "versions"
_NUMBER = re.compile(r"v([0-9]{4})_")
_CONTRACT = re.compile(r"^UPDATE public\.schema_version SET oldest_processes\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Made:
    """`newest` is the last migration of this code's release, `needed` the last that it cannot do
    without: those that only take away what older processes need may come when these are gone."""

    newest: int
    needed: int

    def fault(self, version: int, oldest_processes: int) -> str | None:
        """Why this code must not serve on a schema at `version`, in words; None where it may."""
        if version < self.needed:
            return f"the schema is at {version:04d} and must be at {self.needed:04d}: migrate it"
        if self.newest < oldest_processes:
            return (
                f"the schema bears processes from {oldest_processes:04d} on and this one is of"
                f" {self.newest:04d}: run a newer release"
            )
        return None


def made_for(versions: Path = _VERSIONS) -> Made:
    """What the migrations in the folder `versions` say."""
    scripts = {
        int(number[1]): script
        for script in versions.glob("v*.sql")
        if (number := _NUMBER.match(script.name)) is not None
    }
    needed = max(number for number, script in scripts.items() if not _is_contract(script))
    return Made(max(scripts), needed)


def _is_contract(script: Path) -> bool:
    return _CONTRACT.search(script.read_text(encoding="utf-8")) is not None


MADE_FOR = made_for()
"""What this code was made for."""

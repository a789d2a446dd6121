"""Which schema code was made for, and on which it may serve."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

import database
from database.schema_version import MADE_FOR, Made, made_for

CONTRACT = "UPDATE public.schema_version SET oldest_processes = '0001';\n"


def migrations(folder: Path, *scripts: str) -> Made:
    for number, script in enumerate(scripts, start=1):
        (folder / f"v{number:04d}_one.sql").write_text(script, encoding="utf-8")
    return made_for(folder)


def test_the_newest_migration_is_the_head() -> None:
    head = ScriptDirectory(str(Path(database.__file__).parent / "migrations")).get_current_head()
    assert f"{MADE_FOR.newest:04d}" == head


def test_what_adds_is_needed(tmp_path: Path) -> None:
    assert migrations(tmp_path, "-- a", "-- b") == Made(newest=2, needed=2)


def test_what_only_takes_away_may_come_later(tmp_path: Path) -> None:
    contract = f"ALTER TABLE ledger.x DROP COLUMN y;\n{CONTRACT}"
    assert migrations(tmp_path, "-- a", "-- b", contract, contract) == Made(newest=4, needed=2)


@pytest.mark.parametrize(
    ("version", "oldest", "fault"),
    [
        (6, 1, "at 0006 and must be at 0007"),
        (7, 1, None),
        (9, 1, None),
        (12, 9, None),
        (12, 10, "bears processes from 0010 on and this one is of 0009"),
    ],
)
def test_a_schema_fits_from_what_is_needed_on_until_it_wants_newer_processes(
    version: int, oldest: int, fault: str | None
) -> None:
    found = Made(newest=9, needed=7).fault(version, oldest)
    assert (found is None) if fault is None else (found is not None and fault in found)

"""Migrations are one line that leads forward, in the order of their numbers."""

from __future__ import annotations

import ast
from pathlib import Path

from alembic.script import ScriptDirectory

import database

MIGRATIONS = Path(database.__file__).parent / "migrations"
REVISIONS = list(reversed(list(ScriptDirectory(str(MIGRATIONS)).walk_revisions())))
MODULES = sorted((MIGRATIONS / "versions").glob("v*.py"))


def test_each_follows_the_one_before() -> None:
    before: str | None = None
    for revision in REVISIONS:
        assert revision.down_revision == before
        before = revision.revision
    assert [Path(revision.path) for revision in REVISIONS] == MODULES


def test_each_bears_its_number() -> None:
    for number, revision in enumerate(REVISIONS, start=1):
        assert revision.revision == f"{number:04d}"
        assert Path(revision.path).name.startswith(f"v{number:04d}_")


def test_none_leads_back() -> None:
    assert [one.path for one in REVISIONS if hasattr(one.module, "downgrade")] == []


def test_every_script_is_run_by_its_module() -> None:
    scripts = (MIGRATIONS / "versions").glob("*.sql")
    assert [script for script in scripts if script.with_suffix(".py") not in MODULES] == []


def test_all_their_sql_stands_where_it_is_linted() -> None:
    calls = (
        (module.name, node.func)
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    )
    assert [
        name for name, call in calls if isinstance(call, ast.Attribute) and "exec" in call.attr
    ] == []

"""What is unsafe on a live table fails `make check`; what has landed passes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.check import MIGRATIONS, checks, lint_migrations

UNSAFE = {
    "adding-required-field": "ALTER TABLE ledger.accounts ADD COLUMN extra bigint NOT NULL",
    "adding-not-nullable-field": "ALTER TABLE ledger.transfers ALTER COLUMN reference SET NOT NULL",
    "adding-field-with-default": "ALTER TABLE ledger.accounts"
    " ADD COLUMN extra double precision DEFAULT random()",
    "changing-column-type": "ALTER TABLE ledger.accounts ALTER COLUMN owner TYPE bytea",
    "require-concurrent-index-creation": "CREATE INDEX extra ON ledger.transfers (amount)",
    "ban-concurrent-index-creation-in-transaction": "CREATE INDEX CONCURRENTLY IF NOT EXISTS extra"
    " ON ledger.transfers (amount); SELECT 1",
    "constraint-missing-not-valid": "ALTER TABLE ledger.accounts"
    " ADD CONSTRAINT extra CHECK (balance < 7)",
    "disallowed-unique-constraint": "ALTER TABLE ledger.accounts"
    " ADD CONSTRAINT extra UNIQUE (owner)",
    "renaming-column": "ALTER TABLE ledger.accounts RENAME COLUMN owner TO holder",
    "ban-drop-column": "ALTER TABLE ledger.accounts DROP COLUMN owner",
    "ban-drop-table": "DROP TABLE ledger.transfer_details",
    "require-concurrent-partition-detach": "ALTER TABLE ledger.transfers"
    " DETACH PARTITION ledger.transfers_old",
    "require-table-schema": "CREATE TABLE extra (id bigint)",
}
"""A rule, and a statement that it stands against."""

SAFE = {
    "a column without a default": "ALTER TABLE ledger.accounts ADD COLUMN extra text",
    "a constraint checked later": "ALTER TABLE ledger.accounts"
    " ADD CONSTRAINT extra CHECK (balance < 7) NOT VALID",
    "an index on a new table": "CREATE TABLE ledger.extra (id bigint);"
    " CREATE INDEX extra_id ON ledger.extra (id)",
    "an index beside the writers": "-- squawk-disable-assume-in-transaction\n"
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS extra ON ledger.transfers (amount)",
    "what is allowed by name": "-- Nobody reads it.\n-- squawk-ignore ban-drop-table\n"
    "DROP TABLE ledger.extra",
}


def lint(folder: Path, statement: str) -> tuple[int, str]:
    script = folder / "v9999_extra.sql"
    script.write_text(f"{statement};\n", encoding="utf-8")
    result = subprocess.run(
        lint_migrations([script]), capture_output=True, text=True, check=False, timeout=30
    )
    return result.returncode, result.stdout


@pytest.mark.parametrize("rule", UNSAFE)
def test_an_unsafe_statement_fails(tmp_path: Path, rule: str) -> None:
    code, said = lint(tmp_path, UNSAFE[rule])
    assert code == 1
    assert rule in said


@pytest.mark.parametrize("name", SAFE)
def test_a_safe_statement_passes(tmp_path: Path, name: str) -> None:
    code, said = lint(tmp_path, SAFE[name])
    assert code == 0, said


def test_the_checks_lint_every_script() -> None:
    scripts = {str(script) for script in MIGRATIONS.rglob("*.sql")}
    assert len(scripts) >= 5
    [command] = checks("unused")["migrations"]
    assert scripts <= set(command)

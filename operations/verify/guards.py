"""What the tables must enforce by themselves: their triggers, constraints, functions and rights."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import database
from paycore.domain.rules import LEGAL_CHILDREN

_MIGRATIONS = Path(database.__file__).parent / "migrations" / "versions"

_SCHEMA = Path(database.__file__).parent / "schema.sql"

_FUNCTION = re.compile(
    r"CREATE (?:OR REPLACE )?FUNCTION ledger\.(\w+)\([^;]*?\nAS \$\$(.*?)\$\$", re.DOTALL
)

_TRIGGER = re.compile(r"^CREATE TRIGGER (\w+) ([^;]*?)\sON\s+ledger\.(\w+)\s([^;]*);", re.MULTILINE)

WRITERS: Mapping[str, str] = {
    "transfers": "paycore_command",
    "declines": "paycore_command",
    "authorizations": "paycore_command",
    "idempotency_keys": "paycore_command",
    "journal": "paycore_command",
    "audit": "paycore_owner",
    "erased_keys": "paycore_owner",
    "transfer_details": "paycore_command",
    "transfer_groups": "paycore_command",
    "external_identifiers": "paycore_command",
    "verifications": "paycore_audit",
    "seals": "paycore_projector",
}
"""The tables in which rows are only ever added, and who alone may add them."""

CONSTRAINTS: Mapping[str, Sequence[str]] = {
    "accounts": (
        "accounts_floor",
        "accounts_closed_empty",
        "accounts_held_not_negative",
        "accounts_limit_not_negative",
        "accounts_pkey",
    ),
    "transfers": (
        "transfers_amount_positive",
        "transfers_authorized",
        "transfers_child",
        "transfers_extras",
        "transfers_legs",
        "transfers_pkey",
        "transfers_two_accounts",
        "transfers_versions_positive",
    ),
    "journal": ("journal_pkey",),
    "idempotency_keys": ("idempotency_keys_once",),
    "declines": ("declines_pkey",),
    "transfer_details": ("transfer_details_pkey", "transfer_details_plain_or_sealed"),
    "erased_keys": ("erased_keys_pkey",),
    "seals": ("seals_pkey", "seals_once", "seals_follow", "seals_digest_a_row", "seals_begin"),
    "transfer_groups": ("transfer_groups_pkey", "transfer_groups_size"),
    "authorizations": (
        "authorizations_pkey",
        "authorizations_transfer_id_key",
        "authorizations_of_one",
        "authorizations_of_payer",
    ),
}
"""Constraints, and unique indexes that stand for one, by table."""


def enforcement() -> dict[str, dict[str, list[str]]]:
    """Names of the queries of verify_enforcement.sql, with their values."""
    triggers = declared_triggers()
    constraints = [(table, name) for table, all_of in CONSTRAINTS.items() for name in all_of]
    functions = declared_functions()
    legal = [(str(parent), str(child)) for child, of in LEGAL_CHILDREN.items() for parent in of]
    return {
        "check_triggers": _columns(triggers, "tables", "names", "definitions"),
        "check_functions": _columns(list(functions.items()), "names", "bodies"),
        "check_constraints": _columns(constraints, "tables", "names"),
        "check_partitions": {},
        "check_legal_children": _columns(legal, "parents", "children"),
        "check_rights": _columns(list(WRITERS.items()), "history", "writers"),
    }


def declared_triggers() -> list[tuple[str, str, str]]:
    """Table, name and definition of the ledger's triggers, with % in place of the table's name."""
    schema = _SCHEMA.read_text(encoding="utf-8")
    return [
        (table, name, " ".join(f"CREATE TRIGGER {name} {when} ON % {what}".split()))
        for name, when, table, what in _TRIGGER.findall(schema)
    ]


def declared_functions() -> dict[str, str]:
    """The bodies of the ledger's functions by name, as the migrations last defined them."""
    bodies: dict[str, str] = {}
    for file in sorted(_MIGRATIONS.glob("v*.sql")):
        bodies.update(_FUNCTION.findall(file.read_text(encoding="utf-8")))
    return bodies


def _columns(rows: Sequence[tuple[str, ...]], *names: str) -> dict[str, list[str]]:
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}

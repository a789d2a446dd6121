"""What the tables must enforce by themselves: their triggers, constraints, functions and rights."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import database
from paycore.domain.rules import LEGAL_CHILDREN

_MIGRATIONS = Path(database.__file__).parent / "migrations" / "versions"

_FUNCTION = re.compile(
    r"CREATE (?:OR REPLACE )?FUNCTION ledger\.(\w+)\([^;]*?\nAS \$\$(.*?)\$\$", re.DOTALL
)

_REFUSE = "FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()"

APPEND_ONLY = (
    "append_only",
    f"CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON % {_REFUSE}",
)

WRITERS: Mapping[str, str] = {
    "transfers": "paycore_command",
    "declines": "paycore_command",
    "authorizations": "paycore_command",
    "idempotency_keys": "paycore_command",
    "journal": "paycore_command",
    "audit": "paycore_command",
    "transfer_groups": "paycore_command",
    "verifications": "paycore_audit",
}
"""The tables in which rows are only ever added, and who alone may add them."""

TRIGGERS: Mapping[str, Sequence[tuple[str, str]]] = {
    **dict.fromkeys(WRITERS, (APPEND_ONLY,)),
    "transfers": (
        APPEND_ONLY,
        (
            "apply_transfers",
            "CREATE TRIGGER apply_transfers AFTER INSERT ON % REFERENCING NEW TABLE AS inserted"
            " FOR EACH STATEMENT EXECUTE FUNCTION ledger.apply_transfers()",
        ),
    ),
    "accounts": (
        ("never_deleted", f"CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON % {_REFUSE}"),
        (
            "immutable",
            "CREATE TRIGGER immutable BEFORE UPDATE OF id, kind, currency, owner, institution,"
            f" opened_by, created_at_us ON % {_REFUSE}",
        ),
        (
            "only_by_transfers",
            "CREATE TRIGGER only_by_transfers BEFORE UPDATE OF balance, held, version,"
            " last_entry_us ON % FOR EACH STATEMENT WHEN ((pg_trigger_depth() = 0))"
            " EXECUTE FUNCTION ledger.refuse_change()",
        ),
        (
            "born_at_zero",
            "CREATE TRIGGER born_at_zero BEFORE INSERT ON % FOR EACH ROW WHEN (((new.balance <> 0)"
            " OR (new.held <> 0) OR (new.version <> 0) OR (new.last_entry_us <> 0)))"
            " EXECUTE FUNCTION ledger.refuse_change()",
        ),
    ),
}
"""Name and definition of the triggers that each table must have, with % in place of its name."""

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
    "transfer_groups": ("transfer_groups_pkey", "transfer_groups_size"),
    "authorizations": ("authorizations_pkey", "authorizations_transfer_id_key"),
}
"""Constraints, and unique indexes that stand for one, by table."""


def enforcement() -> dict[str, dict[str, list[str]]]:
    """Names of the queries of verify_enforcement.sql, with their values."""
    triggers = [(table, *trigger) for table, all_of in TRIGGERS.items() for trigger in all_of]
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


def declared_functions() -> dict[str, str]:
    """The bodies of the ledger's functions by name, as the migrations last defined them."""
    bodies: dict[str, str] = {}
    for file in sorted(_MIGRATIONS.glob("v*.sql")):
        bodies.update(_FUNCTION.findall(file.read_text(encoding="utf-8")))
    return bodies


def _columns(rows: Sequence[tuple[str, ...]], *names: str) -> dict[str, list[str]]:
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}

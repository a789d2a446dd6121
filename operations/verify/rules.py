"""The rules that the ledger's tables must keep, each with the query that looks for breaches."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import asyncpg

from operations.verify.report import Check


class Rule(NamedTuple):
    """`query` names one of verify.sql that returns one row of findings."""

    query: str
    rule: str
    unit: str


SUMS = Rule("check_sums", "balances add up to zero per currency", "currencies")

CHAIN_FINDINGS = {
    "versions": ("versions are gap-free from 1 across both sides", "entries"),
    "balances": ("each balance is the one before it plus the change", "entries"),
    "times": ("each account's times rise with its versions", "entries"),
    "accounts": ("stored accounts equal what their transfers make them", "accounts"),
}
"""The findings of query check_chains, which answers several rules in one pass."""

RULES = (
    Rule("check_floors", "no customer's account is or was below its floor", "accounts"),
    Rule("check_holds", "nothing is held without a hold", "accounts"),
    Rule("check_sides", "payer and payee fit the transfer's kind and currency", "transfers"),
    Rule("check_keys", "keys and outcomes belong together one to one", "keys"),
    Rule("check_journal", "the journal lists each outcome once and nothing else", "journal rows"),
    Rule("check_positions", "each key's position is that of its journal row", "keys"),
    Rule("check_details", "personal data belongs to a transfer or decline", "details"),
    Rule(
        "check_authorizations",
        "authorized transfers have the payer's authorization",
        "authorizations",
    ),
)


async def check_tables(connection: asyncpg.Connection, queries: Any) -> list[Check]:
    """Apply every rule within the transaction of `connection`."""
    checks = [await _one(connection, queries, SUMS)]
    for row in await queries.check_chains(connection):
        text, unit = CHAIN_FINDINGS[row["finding"]]
        checks.append(_check(text, unit, row))
    for rule in RULES:
        checks.append(await _one(connection, queries, rule))
    return checks


async def _one(connection: asyncpg.Connection, queries: Any, rule: Rule) -> Check:
    row = await getattr(queries, rule.query)(connection)
    return _check(rule.rule, rule.unit, row)


def _check(rule: str, unit: str, row: asyncpg.Record) -> Check:
    first = row["first_violation"]
    return Check(
        rule=rule,
        examined=row["examined"] or 0,
        unit=unit,
        violations=row["violations"] or 0,
        first_violation=None if first is None else json.loads(first),
    )

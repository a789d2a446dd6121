"""What clients were told of each command, remembered in few bytes, and held against the tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from tests.support.crashing.history import History, Operation, Verdict
from tests.support.crashing.sendings import Sending


@dataclass
class Told:
    """By client and key. A key is in one of these at most."""

    posted: dict[tuple[str, str], int] = field(default_factory=dict)
    """The transfer, or the group, that a client was told of."""
    declined: dict[tuple[str, str], int] = field(default_factory=dict)
    """The stored decline."""
    refused: set[tuple[str, str]] = field(default_factory=set)
    """Of which a client was told that nothing was done."""
    unheard: set[tuple[str, str]] = field(default_factory=set)
    """Of which no client was told what became of them."""

    def take(self, sending: Sending) -> None:
        """Note what became of the operations of `sending`, each of which was sent once."""
        for one in sending.operations:
            self.note(one)

    def note(self, one: Operation) -> None:
        """Note what became of `one`, as far as its client knows."""
        key = (one.client, one.key)
        if one.posted is not None:
            first = one.posted.transfers[0]
            self.posted[key] = first.group or first.id
        elif one.declined is not None:
            self.declined[key] = one.declined.decline
        elif one.replies and all(reply.verdict is Verdict.REFUSED for reply in one.replies):
            self.refused.add(key)
        else:
            self.unheard.add(key)

    @property
    def commands(self) -> int:
        """How many were sent."""
        return len(self.posted) + len(self.declined) + len(self.refused) + len(self.unheard)


class Forgetful(History):
    """Keeps none of the operations: `Told` has what matters of them."""

    def begin(self, operation: Operation) -> Operation:
        return operation


async def told_breaches(told: Told, run: str, dsn: str) -> list[str]:
    """Where the tables are not as clients were told: what is lost, doubled, or was never asked.

    `run` is what each key begins with, and each transfer's reference, which is the key. `dsn` is
    that of role paycore_audit.
    """
    connection = await asyncpg.connect(dsn, command_timeout=300)
    try:
        return [line async for line in _breaches(told, run, connection)]
    finally:
        await connection.close()


async def _breaches(told: Told, run: str, connection: asyncpg.Connection) -> Any:
    stored: dict[tuple[str, str], tuple[int, str]] = {}
    rows = await connection.fetch(
        "SELECT client, key, outcome_id, outcome::text FROM ledger.idempotency_keys"
        " WHERE starts_with(key, $1)",
        run,
    )
    for row in rows:
        stored[row["client"], row["key"]] = (row["outcome_id"], row["outcome"])
    for line in key_breaches(told, stored):
        yield line
    doubled = await connection.fetch(
        "SELECT client, reference, count(DISTINCT coalesce(group_id, id)) AS times"
        " FROM ledger.transfers WHERE starts_with(reference, $1) GROUP BY client, reference"
        " HAVING count(DISTINCT coalesce(group_id, id)) > 1",
        run,
    )
    for row in doubled:
        yield f"{row['client']}'s {row['reference']} was carried out {row['times']} times"
    alien = await connection.fetch(
        "SELECT transfers.id FROM ledger.transfers AS transfers"
        " LEFT JOIN ledger.idempotency_keys AS keys"
        " ON keys.client = transfers.client AND keys.key = transfers.reference"
        " AND keys.outcome_id = coalesce(transfers.group_id, transfers.id)"
        " WHERE starts_with(reference, $1) AND keys.key IS NULL",
        run,
    )
    for row in alien:
        yield f"transfer {row['id']} is there under another key than its own"


def key_breaches(told: Told, stored: dict[tuple[str, str], tuple[int, str]]) -> Iterator[str]:
    """Where what is `stored`, by client and key, is not what was told."""
    for names, kinds in ((told.posted, ("TRANSFER", "GROUP")), (told.declined, ("DECLINE",))):
        for key, outcome in names.items():
            there = stored.get(key)
            if there is None:
                yield f"{key} was answered with {outcome}, and is lost"
            elif there[0] != outcome or there[1] not in kinds:
                yield f"{key} was answered with {outcome}, and has {there}"
    for key in told.refused & stored.keys():
        yield f"{key} was refused, and has {stored[key]}"
    asked = told.posted.keys() | told.declined.keys() | told.refused | told.unheard
    for key in stored.keys() - asked:
        yield f"{key} has {stored[key]}, and nobody asked for it"

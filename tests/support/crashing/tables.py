"""What the tables hold, read in one snapshot by plain SQL: no code of the services is asked."""

from __future__ import annotations

from dataclasses import dataclass, field

import asyncpg


@dataclass(frozen=True, slots=True)
class Account:
    """A row of ledger.accounts."""

    id: int
    kind: str
    currency: str
    balance: int
    held: int
    overdraft_limit: int
    version: int
    last_entry_us: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """A row of ledger.transfers."""

    id: int
    kind: str
    debit: int
    credit: int
    amount: int
    currency: str
    client: str
    reference: str | None
    debit_version: int
    credit_version: int | None
    debit_balance: int
    credit_balance: int | None
    held: int
    created_at_us: int
    parent: int | None
    parent_sequence: int | None
    parent_remaining: int | None
    parent_state: str | None
    released: int | None
    group: int | None
    step_up: str
    authorization: int | None
    expires_at_us: int | None


@dataclass(frozen=True, slots=True)
class Decline:
    """A row of ledger.declines."""

    id: int
    kind: str
    debit: int
    credit: int
    amount: int
    currency: str
    client: str
    reference: str | None
    reason: str
    created_at_us: int
    parent: int | None
    group: int | None


@dataclass(frozen=True, slots=True)
class Key:
    """A row of ledger.idempotency_keys."""

    client: str
    key: str
    outcome: str
    outcome_id: int


@dataclass(frozen=True, slots=True)
class Journaled:
    """A row of ledger.journal."""

    xid: int
    id: int
    transfers: tuple[int, ...]
    declines: tuple[int, ...]


@dataclass
class Tables:
    """The ledger at one moment."""

    accounts: list[Account] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    declines: list[Decline] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    open_holds: dict[int, int] = field(default_factory=dict)
    """What each open hold still has, by its id."""
    journal: list[Journaled] = field(default_factory=list)
    """In the order of positions."""
    authorizations: frozenset[int] = frozenset()


_ACCOUNTS = """
    SELECT id, kind::text, currency, balance, held, overdraft_limit, version, last_entry_us
    FROM ledger.accounts"""
_TRANSFERS = """
    SELECT id, kind::text, debit_account, credit_account, amount, currency, client, reference,
           debit_version, credit_version, debit_balance_after, credit_balance_after,
           debit_held_after, created_at_us, parent_id, parent_sequence, parent_remaining,
           parent_state::text, released, group_id, step_up::text, authorization_id, expires_at_us
    FROM ledger.transfers ORDER BY id"""
_DECLINES = """
    SELECT id, kind::text, debit_account, credit_account, amount, currency, client, reference,
           reason, created_at_us, parent_id, group_id
    FROM ledger.declines ORDER BY id"""
_KEYS = """
    SELECT client, key, outcome::text, outcome_id FROM ledger.idempotency_keys
    WHERE outcome IN ('TRANSFER', 'GROUP', 'DECLINE')"""
_JOURNAL = """
    SELECT xid::text::bigint, id, transfers, declines FROM ledger.journal ORDER BY xid, id"""


async def read_tables(dsn: str) -> Tables:
    """The whole ledger in one snapshot. `dsn` is that of a role that may read all of it."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            fetch = connection.fetch
            return Tables(
                accounts=[Account(*row) for row in await fetch(_ACCOUNTS)],
                transfers=[Transfer(*row) for row in await fetch(_TRANSFERS)],
                declines=[Decline(*row) for row in await fetch(_DECLINES)],
                keys=[Key(*row) for row in await fetch(_KEYS)],
                open_holds={
                    row["id"]: row["remaining"]
                    for row in await fetch("SELECT id, remaining FROM ledger.open_holds")
                },
                journal=[
                    Journaled(xid, number, tuple(transfers), tuple(declines))
                    for xid, number, transfers, declines in await fetch(_JOURNAL)
                ],
                authorizations=frozenset(
                    row["id"] for row in await fetch("SELECT id FROM ledger.authorizations")
                ),
            )
    finally:
        await connection.close()

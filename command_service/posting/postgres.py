"""The ledger in PostgreSQL: a batch is read, decided and written in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

import asyncpg

import database
from command_service.posting import rows
from command_service.posting.past import PastReader
from command_service.posting.store import (
    NO_POSITION,
    Decide,
    HeldError,
    LockTimeoutError,
    UnreachableError,
    Wants,
    no_past,
)
from command_service.transactions import Transactions, reading
from paycore.domain.accounts import Account, AccountId
from paycore.domain.past import NOTHING_READ
from paycore.domain.plan import (
    BatchState,
    Key,
    OutcomeKind,
    ParentState,
    Plan,
    StoredGroup,
    StoredOutcome,
)
from paycore.domain.position import Position
from paycore.domain.transfers import (
    ChildCommand,
    Command,
    Decline,
    GroupPosted,
    Outcome,
    Refused,
    StoredDetails,
    Transfer,
    TransferId,
    TransferKind,
    accounts_of,
)
from paycore.runtime.clock import Clock

SETTLES_WITHIN_S = 10.0
"""How long a look-up waits at most for transactions that may still store its key, in seconds:
the tables' own limits end each before."""

_POLL_S = 0.02


class PostgresLedger:
    """LedgerStore on PostgreSQL 15 and later."""

    def __init__(self, pool: asyncpg.Pool, transactions: Transactions, clock: Clock) -> None:
        """`pool` is for look-ups; `transactions` bring the connections that batches run on."""
        self._pool = pool
        self._transactions = transactions
        self._clock = clock
        self._queries: Any = database.load("posting")
        self._past = PastReader(clock)

    async def post(
        self,
        commands: Sequence[Command],
        journal_id: int,
        decide: Decide,
        wants: Wants = no_past,
    ) -> list[Outcome]:
        async def work(connection: asyncpg.Connection) -> tuple[list[Outcome], int | None]:
            plan = decide(await self._read(connection, commands, wants))
            xid = await self._write(connection, plan, journal_id) if plan.keys else None
            return plan.outcomes, xid

        try:
            outcomes, position = await self._transactions.run(journal_id, work)
        except LockTimeoutError as error:
            needed = {account for command in commands for account in accounts_of(command)}
            raise HeldError(await self.find_held(needed)) from error
        if position is not None:
            _place(outcomes, position)
        return outcomes

    async def find_held(self, accounts: Collection[AccountId]) -> frozenset[AccountId]:
        async with reading(self._pool) as connection:
            found = await self._queries.find_held(connection, ids=list(accounts))
        return frozenset(AccountId(row[0]) for row in found)

    async def _read(
        self, connection: asyncpg.Connection, commands: Sequence[Command], wants: Wants
    ) -> BatchState:
        wanted: set[AccountId] = set()
        keys: set[Key] = set()
        parents: set[TransferId] = set()
        releases = False
        for command in commands:
            wanted |= accounts_of(command)
            keys.add((command.client, command.key))
            if isinstance(command, ChildCommand):
                parents.add(command.parent)
                releases = releases or command.kind is TransferKind.RELEASE
        found = await self._queries.lock_accounts(connection, ids=list(wanted))
        accounts = {row[0]: rows.account(row) for row in found}
        stored = await self._stored(connection, list(keys))
        standing = await self._parents(connection, list(parents)) if parents else {}
        clock_us = await self._queries.clock_us(connection) if releases else 0
        fresh = commands
        if stored:
            fresh = [one for one in commands if (one.client, one.key) not in stored]
        matters = wants(fresh, accounts)
        past = NOTHING_READ
        if matters.payers or matters.pairs:
            past = await self._past.read(connection, matters, accounts)
        return BatchState(accounts, stored, standing, clock_us, past)

    async def _parents(
        self, connection: asyncpg.Connection, ids: Sequence[TransferId]
    ) -> dict[TransferId, ParentState]:
        found = await self._queries.find_transfers(connection, ids=ids)
        latest = {
            row["id"]: row for row in await self._queries.find_latest_children(connection, ids=ids)
        }
        standing: dict[TransferId, ParentState] = {}
        for transfer in map(rows.transfer, found):
            child = latest.get(transfer.id)
            standing[transfer.id] = (
                ParentState(transfer, 0, transfer.amount, transfer.state)
                if child is None
                else ParentState(
                    transfer,
                    child["parent_sequence"],
                    child["parent_remaining"],
                    rows.state(child["parent_state"]),
                )
            )
        return standing

    async def _stored(
        self, connection: asyncpg.Connection, keys: Sequence[Key]
    ) -> dict[Key, StoredOutcome]:
        found = await self._queries.find_keys(
            connection, clients=[client for client, _ in keys], keys=[key for _, key in keys]
        )
        if not found:
            return {}
        of_kind: dict[str, list[int]] = {kind: [] for kind in OutcomeKind}
        for row in found:
            of_kind.get(row["outcome"], []).append(row["outcome_id"])
        records = await self._records(
            connection, of_kind[OutcomeKind.TRANSFER], of_kind[OutcomeKind.DECLINE]
        )
        groups: dict[int, StoredGroup] = {}
        if of_kind[OutcomeKind.GROUP]:
            groups = await self._groups(connection, of_kind[OutcomeKind.GROUP])
        stored: dict[Key, StoredOutcome] = {}
        for row in found:
            outcome_id = row["outcome_id"]
            record: Transfer | Decline | StoredGroup | None
            record, details = records.get(outcome_id, (groups.get(outcome_id), None))
            position = Position(self._transactions.epoch, row["journal_xid"], row["journal_id"])
            stored[(row["client"], row["key"])] = StoredOutcome(
                row["request_hash"], record, details, position
            )
        return stored

    async def _groups(
        self, connection: asyncpg.Connection, ids: Sequence[int]
    ) -> dict[int, StoredGroup]:
        found = await self._queries.find_groups(connection, ids=ids)
        members = [member for row in found for member in row["transfers"]]
        records = await self._records(connection, members, [])
        groups: dict[int, StoredGroup] = {}
        for row in found:
            transfers = []
            for member in row["transfers"]:
                transfer, details = records[member]
                if isinstance(transfer, Transfer):
                    transfers.append((transfer, details))
            groups[row["id"]] = StoredGroup(row["id"], tuple(transfers))
        return groups

    async def _records(
        self, connection: asyncpg.Connection, posted: Sequence[int], declined: Sequence[int]
    ) -> dict[int, tuple[Transfer | Decline, StoredDetails | None]]:
        records: list[Transfer | Decline] = []
        if posted:
            found = await self._queries.find_transfers(connection, ids=posted)
            records.extend(rows.transfer(row) for row in found)
        if declined:
            found = await self._queries.find_declines(connection, ids=declined)
            records.extend(rows.decline(row) for row in found)
        with_details = [record.id for record in records if record.details_hash is not None]
        details: dict[int, StoredDetails] = {}
        if with_details:
            for row in await self._queries.find_details(connection, ids=with_details):
                details[row["id"]] = rows.details(row)
        return {record.id: (record, details.get(record.id)) for record in records}

    async def _write(self, connection: asyncpg.Connection, plan: Plan, journal_id: int) -> int:
        plan.keys.sort()
        xid: int = await self._queries.write_batch(
            connection, **rows.batch_arguments(plan, journal_id, self._clock.now_us())
        )
        if plan.groups:
            await self._queries.write_groups(connection, **rows.group_arguments(plan))
        if plan.declines:
            await self._queries.write_declines(connection, **rows.decline_arguments(plan))
        if plan.details:
            await self._queries.write_details(connection, **rows.details_arguments(plan))
        if plan.authorizations:
            await self._queries.write_authorizations(
                connection, **rows.authorization_arguments(plan)
            )
        return xid

    async def find(self, client: str, key: str) -> StoredOutcome | None:
        async with reading(self._pool) as connection:
            return (await self._stored(connection, [(client, key)])).get((client, key))

    async def find_payers(self, asked: Sequence[tuple[Key, AccountId]]) -> dict[int, Account]:
        async with reading(self._pool) as connection:
            found = await self._queries.find_payers(
                connection,
                clients=[client for (client, _), _ in asked],
                keys=[key for (_, key), _ in asked],
                accounts=[account for _, account in asked],
            )
        return {place - 1: rows.account(columns) for *columns, place in found}

    async def find_used(self, keys: Collection[Key]) -> set[Key]:
        """Those of `keys` that have an outcome. Raises UnreachableError."""
        async with reading(self._pool) as connection:
            found = await self._queries.find_keys(
                connection, clients=[client for client, _ in keys], keys=[key for _, key in keys]
            )
        return {(row["client"], row["key"]) for row in found}

    async def find_settled(self, client: str, key: str, give_up_s: float) -> StoredOutcome | None:
        stored = await self.find(client, key)
        if stored is not None:
            return stored
        give_up_s = min(give_up_s, self._clock.monotonic_s() + SETTLES_WITHIN_S)
        async with reading(self._pool) as connection:
            mine: int = await self._queries.next_transaction(connection)
        while True:
            # A connection for each look: look-ups that wait must not keep others from reading.
            async with reading(self._pool) as connection:
                horizon: int = await self._queries.horizon(connection)
                found = await self._stored(connection, [(client, key)])
            if found:
                return found[(client, key)]
            if horizon > mine:
                return None
            if self._clock.monotonic_s() >= give_up_s:
                raise UnreachableError("transactions that may store the key are still running")
            await asyncio.sleep(_POLL_S)

    async def find_parents(self, ids: Sequence[TransferId]) -> dict[TransferId, ParentState]:
        async with reading(self._pool) as connection:
            return await self._parents(connection, ids)

    async def find_expired_holds(self, now_us: int, most: int) -> list[TransferId]:
        async with reading(self._pool) as connection:
            found = await self._queries.find_expired_holds(connection, now_us=now_us, most=most)
        return [row["id"] for row in found]

    async def find_by_reference(
        self, client: str, reference: str, most: int
    ) -> list[StoredOutcome]:
        async with reading(self._pool) as connection:
            found = await self._queries.find_by_reference(
                connection, client=client, reference=reference, most=most
            )
            records = await self._records(
                connection,
                [row["id"] for row in found if not row["declined"]],
                [row["id"] for row in found if row["declined"]],
            )
        return [StoredOutcome(b"", *records[row["id"]], NO_POSITION) for row in found]


def _place(outcomes: Sequence[Outcome], position: Position) -> None:
    """Give `position` to every outcome that this transaction stored."""
    for outcome in outcomes:
        if not isinstance(outcome, Refused) and outcome.position is None:
            outcome.position = position
            if isinstance(outcome, GroupPosted):
                for one in outcome.transfers:
                    one.position = position

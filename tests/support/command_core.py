"""The command service's core without its server: accounts and the posting engine on PostgreSQL."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from command_service.accounts.acting import Actors
from command_service.accounts.commands import (
    AccountChange,
    AccountOutcome,
    AccountStored,
    OpenAccount,
)
from command_service.accounts.ledger import AccountLedger
from command_service.admission.rules import RulesCache
from command_service.posting.engine import PostingEngine
from command_service.posting.pacing import EngineLimits
from command_service.posting.postgres import PostgresLedger
from command_service.posting.store import LedgerStore
from command_service.transactions import Transactions
from paycore.domain.accounts import AccountId, AccountKind
from paycore.domain.money import Currency, Minor
from paycore.domain.transfers import (
    ChildCommand,
    Command,
    Outcome,
    Posted,
    Transfer,
    TransferCommand,
    TransferKind,
)
from paycore.runtime.channel import SEPARATE_CONNECTION, open_channel
from paycore.runtime.clock import Clock, SystemClock
from paycore.runtime.data_keys import DataKeys
from paycore.runtime.database import open_pool
from paycore.runtime.pools import PoolName
from paycore.runtime.snowflake import IdSource
from paycore.runtime.tls import TlsFiles
from paycore.runtime.traces import Tracer

CLIENT = "loadtest"
"""May do everything with its own accounts, without step-up."""

AMPLE_S = 60.0

TRAIL_KEY = bytes(range(32))


@dataclass(frozen=True)
class CommandCore:
    """What one process of the command service is made of."""

    pool: asyncpg.Pool
    transactions: Transactions
    ids: IdSource
    store: PostgresLedger
    accounts: AccountLedger
    engine: PostingEngine
    clock: Clock
    rules: RulesCache
    actors: Actors

    async def open(self, count: int, balance: int = 1_000, **changes: Any) -> list[AccountId]:
        """Open an EXTERNAL account and `count` customers, each with `balance` from the first."""
        commands = [
            opening(kind=AccountKind.EXTERNAL),
            *(opening(**changes) for _ in range(count)),
        ]
        outcomes = await self.open_accounts(commands)
        ids = [outcome.account.id for outcome in outcomes if isinstance(outcome, AccountStored)]
        assert len(ids) == count + 1
        if balance:
            deposits = [payment(ids[0], one, balance, kind=TransferKind.DEPOSIT) for one in ids[1:]]
            outcomes_of_deposits = await self.submit(*deposits)
            assert all(isinstance(outcome, Posted) for outcome in outcomes_of_deposits)
        return ids

    async def open_accounts(
        self, commands: Sequence[OpenAccount], within_s: float = AMPLE_S
    ) -> list[AccountOutcome]:
        """The outcome of each opening."""
        return await self.accounts.open(commands, self.clock.monotonic_s() + within_s)

    async def change(self, command: AccountChange, within_s: float = AMPLE_S) -> AccountStored:
        """The account after the change."""
        return await self.accounts.change(command, self.clock.monotonic_s() + within_s)

    async def submit(self, *commands: Command, within_s: float = AMPLE_S) -> list[Outcome]:
        """The outcomes of `commands`, sent together."""
        return await self.engine.submit(commands, self.clock.monotonic_s() + within_s)

    async def one(self, command: Command, within_s: float = AMPLE_S) -> Outcome:
        """The outcome of `command`, sent alone."""
        (outcome,) = await self.submit(command, within_s=within_s)
        return outcome


@asynccontextmanager
async def command_core(
    dsn: str,
    *,
    limits: EngineLimits | None = None,
    clock: Clock | None = None,
    around: Callable[[LedgerStore], LedgerStore] = lambda store: store,
    signing_target: str = "127.0.0.1:1",
    tls: TlsFiles | None = None,
) -> AsyncIterator[CommandCore]:
    """A core on the database at `dsn`; `around` may put something between engine and store.

    Without a `signing_target` nobody answers who has keys: who changes accounts is hinted at.
    """
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        pool = await open_pool(
            dsn, size=4, name=PoolName.READING, application="paycore-command-test"
        )
        stack.callback(pool.terminate)
        posting_pool = await open_pool(
            dsn, size=8, name=PoolName.POSTING, application="paycore-command-test-posting", ready=3
        )
        stack.callback(posting_pool.terminate)
        transactions, posting = Transactions(pool, clock), Transactions(posting_pool, clock)
        await transactions.start()
        await posting.start()
        # Ids are of the time that the clock of the machine shows, whatever a test has others see.
        ids = IdSource(dsn, SystemClock(), "paycore-command-test-ids")
        await ids.start()
        stack.push_async_callback(ids.stop)
        rules = RulesCache(pool, clock)
        await rules.start()
        stack.push_async_callback(rules.stop)
        store = PostgresLedger(pool, posting, clock)
        engine = PostingEngine(around(store), rules.current, ids, clock, limits)
        stack.push_async_callback(engine.stop)
        channel = open_channel(signing_target, tls, SEPARATE_CONNECTION, service="signing")
        stack.push_async_callback(channel.close, None)
        actors = Actors(Tracer(TRAIL_KEY, DataKeys(channel, clock)), clock)
        accounts = AccountLedger(pool, transactions, rules.current, ids, clock, actors)
        yield CommandCore(pool, transactions, ids, store, accounts, engine, clock, rules, actors)


def opening(**changes: Any) -> OpenAccount:
    """A EUR account of CLIENT's under a key of its own."""
    key = secrets.token_hex(8)
    values: dict[str, Any] = {
        "client": CLIENT,
        "key": key,
        "request_hash": key.encode(),
        "owner": "someone",
        "institution": "bank",
        "currency": Currency("EUR"),
        "kind": AccountKind.CUSTOMER,
        "overdraft_limit": Minor(0),
    }
    return OpenAccount(**{**values, **changes})


def payment(debit: AccountId, credit: AccountId, amount: int, **changes: Any) -> TransferCommand:
    """A TRANSFER in EUR by CLIENT under a key of its own."""
    kind = changes.get("kind", TransferKind.TRANSFER)
    values: dict[str, Any] = {
        "client": CLIENT,
        "key": secrets.token_hex(8),
        "request_hash": f"{kind}/{debit}/{credit}/{amount}".encode(),
        "kind": kind,
        "debit_account": debit,
        "credit_account": credit,
        "amount": Minor(amount),
        "currency": Currency("EUR"),
    }
    return TransferCommand(**{**values, **changes})


def follow(
    parent: Transfer, kind: TransferKind, amount: int | None = None, **changes: Any
) -> ChildCommand:
    """A command of CLIENT's that follows `parent`, under a key of its own."""
    forth = kind in (TransferKind.CAPTURE, TransferKind.RELEASE)
    key = secrets.token_hex(8)
    values: dict[str, Any] = {
        "client": CLIENT,
        "key": key,
        "request_hash": key.encode(),
        "kind": kind,
        "parent": parent.id,
        "debit_account": parent.debit_account if forth else parent.credit_account,
        "credit_account": parent.credit_account if forth else parent.debit_account,
        "currency": parent.currency,
        "amount": None if amount is None else Minor(amount),
    }
    return ChildCommand(**{**values, **changes})


def posted(outcomes: Sequence[Outcome]) -> list[Posted]:
    """`outcomes`, all of which must be postings."""
    found = [outcome for outcome in outcomes if isinstance(outcome, Posted)]
    assert len(found) == len(outcomes), outcomes
    return found

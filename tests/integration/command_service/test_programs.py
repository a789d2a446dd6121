"""Random programs, in sequence and in batches: PostgreSQL ends up where the model does.

PAYCORE_EXAMPLES says how many commands each test asks for; a program has at most PROGRAM of them,
for the model counts everything again for each.
"""

from __future__ import annotations

import random
from typing import Any

import asyncpg
import pytest

from command_service.accounts.commands import AccountChange, AccountStored
from paycore.domain.accounts import AccountId, AccountKind, AccountStatus
from paycore.domain.errors import PaycoreError
from paycore.domain.money import Currency, Minor
from paycore.domain.position import Position
from paycore.domain.transfers import Outcome, Refused
from tests.support.account_commands import change, limit
from tests.support.clocks import ShiftedClock
from tests.support.command_core import CommandCore, command_core, opening
from tests.support.databases import OwnDatabase
from tests.support.ledger_checks import violations
from tests.support.ledger_model import in_domain
from tests.support.ledger_model.asked import Change, Command, StatusChange
from tests.support.ledger_model.author import Author
from tests.support.ledger_model.ledger import ModelLedger
from tests.support.ledger_model.likeness import Names, difference, timeless
from tests.support.ledger_model.told import Changed, Told
from tests.support.ledger_model.told import Refused as ModelRefused
from tests.support.ledger_model.world import CLEARING, CLIENTS, LOCAL_THRESHOLDS, books
from tests.support.seeds import rounds

COMMANDS = rounds("PAYCORE_EXAMPLES", 600)

PROGRAM = 200

PAST_RULES = ((None, None), (200, None), (None, 2_000), (100, 5_000))
"""Amounts of a first payment and of a day above which payers must approve, of a program."""

SHORT_US = 30_000_000
"""How long the shortest holds last."""

LATER_S = 41.7
"""What the clock is put forward by: no hold ends near a time at which anything is asked."""


class Program:
    """A model, and accounts of the same kinds on a core, whose outcomes are compared."""

    def __init__(self, core: CommandCore, clock: ShiftedClock, chance: random.Random) -> None:
        self.core = core
        self.clock = clock
        self.chance = chance
        self.names = Names()
        self.model = ModelLedger(books(LOCAL_THRESHOLDS, CLEARING))
        self.author = Author(
            self.model.books,
            chance,
            (*CLIENTS, CLEARING.client),
            near_us=(SHORT_US,),
            judged=True,
            largest=2**62,
        )
        self.author.prefix = f"{chance.getrandbits(64):x}-"
        self.positions: dict[tuple[str, str], Position | None] = {}

    async def open(self) -> None:
        """Open the model's accounts."""
        for number, account in self.model.books.accounts.items():
            kind = AccountKind.EXTERNAL if account.outside else AccountKind.CUSTOMER
            (opened,) = await self.core.open_accounts(
                [
                    opening(
                        client=account.opened_by,
                        institution=account.institution,
                        currency=Currency(account.currency),
                        kind=kind,
                        overdraft_limit=Minor(account.overdraft),
                    )
                ]
            )
            assert isinstance(opened, AccountStored)
            self.names.accounts[number] = opened.account.id

    async def run(self, commands: int, most_at_once: int) -> None:
        """Ask for so many commands, up to `most_at_once` together."""
        while commands > 0:
            if self.chance.random() < 0.15:
                self.clock.shift_s += LATER_S
            if self.chance.random() < 0.08:
                await self.change()
            now_us = self.clock.now_us()
            client = self.author.client()
            together = self.chance.randint(1, most_at_once)
            asked = [self.author.any_command(client, now_us) for _ in range(together)]
            if self.chance.random() < 0.2 and (expiry := self.author.expiry(now_us)):
                asked = [expiry]
            await self.ask(asked)
            commands -= len(asked)
        await self.compare_accounts()

    async def ask(self, asked: list[Command]) -> None:
        """Ask for `asked` together; one client's commands are decided in their order."""
        now_us = self.clock.now_us()
        commands = [in_domain.command(one, self.model.books, self.names) for one in asked]
        outcomes = await self.core.submit(*commands)
        for one, outcome in zip(asked, outcomes, strict=True):
            expected = self.model.decide(one, now_us)
            other = difference(
                timeless(expected), timeless(in_domain.told(outcome, expected, self.names))
            )
            assert other is None, f"{one}: {other}\n{expected}\n{outcome}"
            self._check_position((one.client, one.key), outcome)
        self.author.answered(asked)

    async def change(self) -> None:
        """Set an account's status or limit."""
        asked = self.author.change("operator" if self.chance.random() < 0.9 else "app")
        expected = self.model.decide(asked, self.clock.now_us())
        seen = await self._change(asked)
        other = difference(expected, seen)
        assert other is None, f"{asked}: {other}"
        self.author.answered([asked])

    async def compare_accounts(self) -> None:
        """The tables and the model hold the same."""
        books = self.model.books
        ids = [AccountId(one) for one in self.names.accounts.values()]
        stored = await self.core.accounts.read_many(ids)
        for number, model in books.accounts.items():
            account = stored[AccountId(self.names.account(number))]
            assert account.balance == books.balance(number)
            assert account.held == books.held(number)
            assert (account.version, account.revision) == (books.version(number), model.revision)
            assert account.status == model.status

    async def _change(self, asked: Change) -> Told:
        account = AccountId(self.names.account(asked.account))
        common: dict[str, Any] = {
            "client": asked.client,
            "key": asked.key,
            "request_hash": repr(asked.body).encode(),
            "expected_revision": asked.expected_revision,
        }
        command: AccountChange
        if isinstance(asked, StatusChange):
            command = change(account, AccountStatus(asked.status), **common)
        else:
            command = limit(account, asked.limit, **common)
        try:
            stored = await self.core.change(command)
        except PaycoreError as error:
            return ModelRefused(error.reason.value, self.names.figures(error.metadata))
        after = stored.account
        return Changed(
            asked.account,
            after.status.value,
            after.revision,
            after.balance,
            after.held,
            after.version,
            after.overdraft_limit,
            stored.replayed,
        )

    def _check_position(self, key: tuple[str, str], outcome: Outcome) -> None:
        """Every stored outcome has a position, a replay that of the first."""
        if isinstance(outcome, Refused):
            return
        assert outcome.position is not None
        first = self.positions.setdefault(key, outcome.position)
        assert outcome.position == first


async def set_policy(
    admin: asyncpg.Connection, program: Program, first: int | None, daily: int | None
) -> None:
    """Have EUR's policy hang on the past, on the tables and in the model."""
    await admin.execute(
        "UPDATE ledger.step_up_policies SET first_payment_threshold = $1, daily_total = $2"
        " WHERE currency = 'EUR'",
        first,
        daily,
    )
    books = program.model.books
    for amounts, amount in ((books.first_thresholds, first), (books.daily_totals, daily)):
        if amount is not None:
            amounts["EUR"] = amount


@pytest.mark.timeout(300 + COMMANDS // 5)
@pytest.mark.parametrize("most_at_once", [1, 12], ids=["in sequence", "in batches"])
async def test_the_engine_agrees_with_the_model(
    database: OwnDatabase, admin: asyncpg.Connection, rng: random.Random, most_at_once: int
) -> None:
    await admin.execute(
        "INSERT INTO ledger.grants (client, action, scope) VALUES ($1, $2, $3)",
        CLEARING.client,
        CLEARING.action,
        CLEARING.scope,
    )
    clock = ShiftedClock(wall_only=True)
    # Never later than that of the tables, so that what is over is over for both.
    clock.shift_s = -COMMANDS * LATER_S
    async with command_core(database.dsn("command"), clock=clock) as core:
        for begun in range(0, COMMANDS, PROGRAM):
            program = Program(core, clock, rng)
            await set_policy(admin, program, *rng.choice(PAST_RULES))
            await core.rules.load()
            await program.open()
            await program.run(min(PROGRAM, COMMANDS - begun), most_at_once)
    assert await violations(admin) == []

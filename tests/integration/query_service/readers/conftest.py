"""One random ledger with all that can happen in it, its index, and a reader of each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from command_service.accounts.commands import AccountStored
from command_service.personal.erasure import Erasure
from command_service.personal.owners import Owners
from command_service.personal.posting import PersonalPosting
from command_service.personal.vault import Vault
from deploy.local import Endpoints
from paycore.domain.accounts import AccountId, AccountKind
from paycore.domain.money import Currency
from paycore.domain.position import Position
from paycore.domain.transfers import (
    Command,
    Declined,
    Details,
    GroupCommand,
    GroupPosted,
    Outcome,
    RiskDecision,
    RiskVerdict,
    Transfer,
    TransferCommand,
    TransferKind,
)
from paycore.runtime.clock import Clock, SystemClock
from paycore.runtime.data_keys import DataKeys
from paycore.runtime.elastic import ElasticAddress, open_client
from projector.settings import ProjectorSettings
from query_service.personal import DetailsOpener
from query_service.positions import PositionTracker
from query_service.readers.elastic.connection import Connection
from query_service.readers.elastic.reader import ElasticPositions, ElasticReader
from query_service.readers.port import HistoryReader, ReadTerms
from query_service.readers.postgres.reader import PostgresReader
from query_service.readers.postgres.snapshots import Snapshots
from tests.integration.command_service.test_programs import Program
from tests.integration.personal.conftest import Desk
from tests.integration.projector.conftest import Running
from tests.support.clocks import ShiftedClock
from tests.support.command_core import CLIENT, command_core, follow, opening, payment, posted
from tests.support.data_key_server import DataKeyServer, data_key_server
from tests.support.databases import OwnDatabase, own_database
from tests.support.ledger_model.world import CLEARING
from tests.support.seeds import rounds, seeded

COMMANDS = rounds("PAYCORE_HISTORY_COMMANDS", 160)
AMPLE_S = 90.0

BUSY_TOLERANCE_S = 50.0
"""How far behind the index may be on a machine with much else to do, in seconds."""

WORTH_READING = (
    *(f"SELECT count(*) FROM ledger.transfers WHERE kind = '{kind}'" for kind in TransferKind),
    "SELECT count(*) FROM ledger.declines",
    "SELECT count(*) FROM ledger.erased_keys",
    "SELECT count(*) FROM ledger.transfers WHERE group_id IS NOT NULL",
    "SELECT count(DISTINCT currency) - 1 FROM ledger.transfers",
    "SELECT count(*) FROM ledger.transfers WHERE review IS NOT NULL",
)
"""What the ledger has at least one of each of, whatever chance would have it."""

SOURCES = ("elasticsearch", "postgresql")

FIRST_ID = 10**9
"""Below it are the program's numbers of what does not exist."""

ACTORS = ("ada", "bob", "cy")

A_DAY_US = 86_400_000_000


@dataclass
class DetailedCore:
    """The core of a program whose payments carry personal data now and then."""

    desk: Desk
    chance: random.Random

    def __getattr__(self, name: str) -> Any:
        return getattr(self.desk.core, name)

    async def submit(self, *commands: Command) -> list[Outcome]:
        return await self.desk.submit(*map(self._detailed, commands))

    def _detailed(self, command: Command) -> Command:
        if isinstance(command, GroupCommand):
            return command._replace(items=tuple(map(self._of_one, command.items)))
        return self._of_one(command) if isinstance(command, TransferCommand) else command

    def _of_one(self, command: TransferCommand) -> TransferCommand:
        # Whose data it is, is asked before anything is decided: only of accounts that there are.
        sides = (command.debit_account, command.credit_account)
        if self.chance.random() < 0.5 or sides[0] == sides[1] or min(sides) < FIRST_ID:
            return command
        details = Details(
            self.chance.choice(("", *ACTORS)),
            self.chance.choice(("", "phone-1")),
            self.chance.choice(("", "192.0.2.7")),
            self.chance.choice(("", "rent", "=SUM(A1)", "für die Miete")),
            self.chance.choice((None, {"flat": "4b"}, {"a": "1", "b": ""})),
        )
        return command._replace(details=details, details_hash=b"h")


@asynccontextmanager
async def desk_at(
    database: OwnDatabase, signer: DataKeyServer, clock: Clock
) -> AsyncIterator[Desk]:
    """A process of the command service that goes by `clock`."""
    async with (
        command_core(database.dsn("command"), clock=clock) as core,
        signer.channel() as channel,
    ):
        keys = DataKeys(channel, SystemClock())
        vault = Vault(keys, Owners(core.accounts), core.store, core.clock)
        erasure = Erasure(core.pool, core.transactions, keys, core.ids, core.clock, core.actors)
        yield Desk(core, keys, PersonalPosting(core.engine, vault), vault, erasure)


@dataclass
class World:
    """A ledger, its index as far as the projector has come, and what reads them."""

    database: OwnDatabase
    signer: DataKeyServer
    desk: Desk
    program: Program
    readers: dict[str, HistoryReader]
    positions: PositionTracker
    admin: asyncpg.Connection
    keys: DataKeys
    others: list[int] = field(default_factory=list)
    """Accounts of which the program knows nothing."""

    @property
    def accounts(self) -> list[int]:
        return [*self.program.names.accounts.values(), *self.others]

    @property
    def transfers(self) -> list[int]:
        return list(self.program.names.transfers.values())

    async def last_position(self) -> Position:
        row = await self.admin.fetchrow(
            "SELECT epoch, xid, id FROM ledger.journal, ledger.epoch"
            " ORDER BY xid DESC, id DESC LIMIT 1"
        )
        assert row is not None
        return Position(*row)

    async def catch_up(self) -> Position:
        """Return once the index has all that the ledger has."""
        last = await self.last_position()
        async with asyncio.timeout(AMPLE_S):
            while True:
                # It may not have been made yet.
                await self.positions.poll()
                if self.positions.seen is not None and self.positions.seen.position >= last:
                    return last
                await asyncio.sleep(0.05)


def terms(min_position: Position | None = None, within_s: float = AMPLE_S) -> ReadTerms:
    return ReadTerms(SystemClock().monotonic_s() + within_s, min_position)


@asynccontextmanager
async def ledger_reader(
    dsn: str, channel: Any, **changes: Any
) -> AsyncIterator[tuple[PostgresReader, DataKeys]]:
    """A reader of the ledger at `dsn`, with keys from `channel`."""
    clock = SystemClock()
    keys = DataKeys(channel, clock)
    snapshots = Snapshots(dsn, clock)
    try:
        yield PostgresReader(snapshots, DetailsOpener(keys), clock), keys
    finally:
        await snapshots.close()


@asynccontextmanager
async def open_world(
    endpoints: Endpoints, template: str, chance: random.Random
) -> AsyncIterator[World]:
    clock, shifted = SystemClock(), ShiftedClock(wall_only=True)
    with own_database(endpoints, template) as database:
        admin = await asyncpg.connect(database.admin_dsn)
        await admin.execute(
            "INSERT INTO ledger.grants (client, action, scope) VALUES ($1, $2, $3)",
            CLEARING.client,
            CLEARING.action,
            CLEARING.scope,
        )
        settings = projector_settings(database)
        client = open_client(ElasticAddress.of(settings), connections=4, request_timeout_s=10)
        async with (
            data_key_server(database) as signer,
            desk_at(database, signer, shifted) as desk,
            signer.channel("query") as channel,
            ledger_reader(database.dsn("query"), channel) as (ledger, keys),
        ):
            program = Program(DetailedCore(desk, chance), shifted, chance)  # type: ignore[arg-type]
            # Whether a hold's time is up goes by the clock of the tables, which nobody shifts.
            program.author.near_us = ()
            running = Running(settings, signer.channel("projector"))
            connection = Connection(client, clock)
            positions = PositionTracker(
                ElasticPositions(connection, database.name), clock, BUSY_TOLERANCE_S
            )
            readers: dict[str, HistoryReader] = {
                "elasticsearch": ElasticReader(connection, positions, database.name),
                "postgresql": ledger,
            }
            world = World(database, signer, desk, program, readers, positions, admin, keys)
            tracking = asyncio.create_task(positions.run())
            try:
                yield world
            finally:
                tracking.cancel()
                await asyncio.gather(tracking, return_exceptions=True)
                await running.stop()
                for made in await client.indices.get(index=f"{database.name}-*"):
                    await client.indices.delete(index=made)
                await client.close()
                await admin.close()


def projector_settings(database: OwnDatabase) -> ProjectorSettings:
    endpoints = database.endpoints
    return ProjectorSettings(
        environment="local",
        insecure=True,
        signing_target="127.0.0.1:1",
        postgres_dsn=SecretStr(database.dsn("projector")),
        elasticsearch_url=endpoints.elasticsearch_url,
        elasticsearch_user=endpoints.elasticsearch_user,
        elasticsearch_password=SecretStr(endpoints.elasticsearch_password),
        index_prefix=database.name,
        sinks="elasticsearch",
        stand_by_poll_s=0.1,
        shutdown_grace_s=4.0,
    )


@pytest.fixture(scope="package")
async def world(
    endpoints: Endpoints, template: str, request: pytest.FixtureRequest
) -> AsyncIterator[World]:
    """A program of COMMANDS has run, and two subjects were erased on the way.

    A program may close its accounts early on, and leave out much: it is not relied on for what
    tests look for.
    """
    chance = seeded("tests/integration/query_service/readers")
    async with open_world(endpoints, template, chance) as world:
        await world.program.open()
        await open_more(world)
        for erased in (None, "bob", "someone"):
            if erased is not None:
                await world.desk.erase(erased)
            await world.program.run(COMMANDS // 3, 6)
        await world.catch_up()
        yield world


async def missing(world: World) -> list[str]:
    """What has not happened of all that is worth reading."""
    return [asked for asked in WORTH_READING if not await world.admin.fetchval(asked)]


async def open_more(world: World) -> None:
    """Accounts in other currencies, between which all happens that can."""
    core = world.desk.core
    for currency in map(Currency, ("JPY", "BHD")):
        kinds = (AccountKind.EXTERNAL, AccountKind.CUSTOMER, AccountKind.CUSTOMER)
        opened = await core.open_accounts([opening(currency=currency, kind=kind) for kind in kinds])
        ids = [one.account.id for one in opened if isinstance(one, AccountStored)]
        await everything(world.desk, currency, *ids)
        world.others += ids


async def everything(
    desk: Desk, currency: Currency, outside: AccountId, payer: AccountId, payee: AccountId
) -> None:
    """One transfer of each kind at least, a group, a review and a decline."""

    def paying(amount: int, kind: TransferKind, *, to: AccountId = payee, **changes: Any) -> Any:
        debit = outside if kind is TransferKind.DEPOSIT else payer
        return payment(debit, to, amount, kind=kind, currency=currency, reference="rent", **changes)

    async def post(command: Command) -> Transfer:
        (outcome,) = posted([await desk.one(command)])
        return outcome.transfer

    for one in (payer, payee):
        await post(paying(5_000, TransferKind.DEPOSIT, to=one))
    details = Details("bob", "phone-1", "192.0.2.7", "rent", {"flat": "4b"})
    rent = await post(paying(1_200, TransferKind.TRANSFER, details=details, details_hash=b"h"))
    await post(follow(rent, TransferKind.REFUND, 200))
    await post(follow(await post(paying(70, TransferKind.FEE)), TransferKind.REVERSAL))
    await post(paying(130, TransferKind.WITHDRAWAL, to=outside))
    await post(paying(40, TransferKind.NET_SETTLEMENT, client=CLEARING.client))
    ends = desk.core.clock.now_us() + A_DAY_US
    for kind in (TransferKind.CAPTURE, TransferKind.RELEASE):
        await post(follow(await post(paying(300, TransferKind.HOLD, expires_at_us=ends)), kind))
    odd = RiskVerdict(RiskDecision.REVIEW, "odd")
    assert (await post(paying(90, TransferKind.TRANSFER, risk=odd))).review == "odd"
    items = tuple(
        paying(amount, TransferKind.TRANSFER)._replace(key="", request_hash=b"")
        for amount in (10, 20)
    )
    grouped = await desk.one(GroupCommand(CLIENT, f"group-{payer}", b"hash", items))
    assert isinstance(grouped, GroupPosted)
    declined = await desk.one(paying(1_000_000, TransferKind.TRANSFER))
    assert isinstance(declined, Declined)


@pytest.fixture(params=SOURCES)
def reader(world: World, request: pytest.FixtureRequest) -> HistoryReader:
    """Each reader of the same ledger."""
    return world.readers[request.param]

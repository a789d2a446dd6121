"""A random ledger, projected by the projector, and the query service over both."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import asyncpg
import grpc
import psycopg
import pytest
from elasticsearch import AsyncElasticsearch
from pydantic import SecretStr

from deploy.local import Endpoints
from paycore.runtime.channel import open_channel
from paycore.runtime.clock import SystemClock
from projector.settings import ProjectorSettings
from query_service.__main__ import serve
from tests.integration.analytics.oracle import Reader, Row, ledger_rows
from tests.integration.analytics.random_ledger import CLIENTS, HOUR_US, RandomLedger, SteppedClock
from tests.integration.projector.conftest import Running
from tests.integration.projector.index import TestIndex
from tests.integration.projector.ledger import TestLedger
from tests.integration.query_service.calls import Caller
from tests.integration.query_service.conftest import service_settings, until_serving
from tests.support.command_core import command_core
from tests.support.databases import OwnDatabase, own_database
from tests.support.seeds import rounds, seeded

COMMANDS = rounds("PAYCORE_ANALYTICS_COMMANDS", 800)

READERS = (
    Reader("analyst", all=True),
    Reader("app", own=True),
    Reader("loadtest", institutions=("north",)),
    # May call every method, and read no account.
    Reader("operator"),
)

_PAYS = (
    "TRANSFER", "DEPOSIT", "WITHDRAWAL", "HOLD", "CAPTURE", "RELEASE", "REFUND", "REVERSAL", "FEE",
    "OPEN_EXTERNAL", "SET_OVERDRAFT", "STEP_UP_EXEMPT", "REVIEW",
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """What was posted, and those who may ask about it."""

    posting: RandomLedger
    rows: list[Row]
    callers: dict[str, Caller]
    index: TestIndex
    journal: TestLedger
    dsn: str

    async def projected(self) -> None:
        """Return once the index has all that was posted."""
        await self.index.await_position(self.journal)


@pytest.fixture(scope="session")
def bank(endpoints: Endpoints, template: str) -> Iterator[OwnDatabase]:
    """A database in which every client may pay from every account, and read what READERS say."""
    with own_database(endpoints, template) as own:
        with psycopg.connect(own.dsn("owner")) as connection:
            connection.execute(
                "DELETE FROM ledger.grants WHERE action = 'READ' AND client <> 'analyst'"
            )
            connection.execute(
                "INSERT INTO ledger.grants (client, action, scope, institution) VALUES"
                " ('app', 'READ', 'OWN', ''), ('loadtest', 'READ', 'INSTITUTION', 'north')"
            )
            for client in CLIENTS:
                for action in _PAYS:
                    connection.execute(
                        "INSERT INTO ledger.grants (client, action, scope) VALUES (%s, %s, 'ALL')"
                        " ON CONFLICT DO NOTHING",
                        (client, action),
                    )
        yield own


@pytest.fixture(scope="session")
async def scene(
    endpoints: Endpoints, bank: OwnDatabase, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    chance = seeded("analytics")
    client = AsyncElasticsearch(
        endpoints.elasticsearch_url,
        basic_auth=(endpoints.elasticsearch_user, endpoints.elasticsearch_password),
        request_timeout=60,
    )
    index = TestIndex(client, bank.name)
    pool = await asyncpg.create_pool(bank.dsn("owner"), min_size=0, max_size=4)
    projector = Running(_projector_settings(endpoints, bank))
    key_file = tmp_path_factory.mktemp("keys") / "page-token.key"
    key_file.write_text(secrets.token_hex(32))
    settings = service_settings(bank, key_file).model_copy(update={"index_prefix": bank.name})
    stop = asyncio.Event()
    service = asyncio.create_task(serve(settings, stop))
    channels: list[grpc.aio.Channel] = []

    def caller(name: str) -> Caller:
        channels.append(open_channel(settings.listen, endpoints.tls[name], service="query"))
        return Caller.on(channels[-1])

    clock = SteppedClock(_full_hour())
    async with command_core(bank.dsn("command"), clock=clock) as core:
        posting = RandomLedger(core, clock, chance)
        await posting.open()
        await posting.move_huge_sums()
        await posting.post(COMMANDS)
        await until_serving(settings)
        journal = TestLedger(pool)
        await index.await_position(journal)
        callers = {reader.client: caller(reader.client) for reader in READERS}
        # It began before there was an index, and looks for it now and then: by its answer it has.
        wanted = await index.await_told_of(journal)
        await callers["analyst"].kinds(min_position=wanted.encode())
        dsn = bank.dsn("audit")
        yield Scene(posting, await ledger_rows(dsn), callers, index, journal, dsn)
    for channel in channels:
        await channel.close(None)
    stop.set()
    await service
    await projector.stop()
    for made in await client.indices.get(index=f"{bank.name}-*"):
        await client.indices.delete(index=made)
    await client.close()
    pool.terminate()


@pytest.fixture(params=READERS, ids=lambda reader: reader.client)
def reader(request: pytest.FixtureRequest) -> Reader:
    """Each of those who may ask."""
    found: Reader = request.param
    return found


def _full_hour() -> int:
    """The beginning of this hour: the months of the ledger's times have partitions."""
    return SystemClock().now_us() // HOUR_US * HOUR_US


def _projector_settings(endpoints: Endpoints, bank: OwnDatabase) -> ProjectorSettings:
    return ProjectorSettings(
        environment="local",
        insecure=True,
        # Nobody answers there: what is plain needs no keys.
        signing_target="127.0.0.1:1",
        postgres_dsn=SecretStr(bank.dsn("projector")),
        elasticsearch_url=endpoints.elasticsearch_url,
        elasticsearch_user=endpoints.elasticsearch_user,
        elasticsearch_password=SecretStr(endpoints.elasticsearch_password),
        index_prefix=bank.name,
        sinks="elasticsearch",
        shutdown_grace_s=4.0,
    )

"""A database, keys and a projector of webhooks for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from command_service.webhooks.ledger import WebhookLedger
from command_service.webhooks.secrets import Secrets
from deploy.local import Endpoints
from paycore.runtime.data_keys import DataKeys
from projector.settings import ProjectorSettings
from tests.integration.projector.conftest import Running
from tests.integration.projector.ledger import TestLedger
from tests.integration.webhooks.desk import Desk
from tests.support.command_core import CommandCore, command_core
from tests.support.data_key_server import DataKeyServer, data_key_server
from tests.support.databases import OwnDatabase

SCHEDULE_S = (0.05, 0.1, 0.1)


@pytest.fixture
async def ledger(database: OwnDatabase) -> AsyncIterator[TestLedger]:
    pool = await asyncpg.create_pool(database.dsn("owner"), min_size=0, max_size=6)
    yield TestLedger(pool)
    pool.terminate()


@pytest.fixture
async def server(database: OwnDatabase) -> AsyncIterator[DataKeyServer]:
    async with data_key_server(database) as server:
        yield server


@pytest.fixture
async def core(database: OwnDatabase) -> AsyncIterator[CommandCore]:
    async with command_core(database.dsn("command")) as core:
        yield core


@pytest.fixture
async def desk(core: CommandCore, server: DataKeyServer, ledger: TestLedger) -> AsyncIterator[Desk]:
    async with server.channel() as channel:
        secrets = Secrets(DataKeys(channel, core.clock))
        webhooks = WebhookLedger(
            core.pool,
            core.transactions,
            core.rules.current,
            core.accounts,
            secrets,
            core.ids,
            core.clock,
            core.actors,
        )
        yield Desk(webhooks, core, ledger)


@pytest.fixture
def settings(endpoints: Endpoints, database: OwnDatabase) -> ProjectorSettings:
    return ProjectorSettings(
        environment="local",
        insecure=True,
        signing_target="127.0.0.1:1",
        postgres_dsn=SecretStr(database.dsn("projector")),
        elasticsearch_url=endpoints.elasticsearch_url,
        elasticsearch_user=endpoints.elasticsearch_user,
        elasticsearch_password=SecretStr(endpoints.elasticsearch_password),
        sinks="webhooks",
        stand_by_poll_s=0.1,
        shutdown_grace_s=4.0,
        webhook_http=True,
        webhook_networks="127.0.0.0/8",
        webhook_public=False,
        webhook_schedule_s=SCHEDULE_S,
        webhook_attempt_s=1.0,
    )


Start = Callable[..., Running]


@pytest.fixture
async def start(settings: ProjectorSettings, server: DataKeyServer) -> AsyncIterator[Start]:
    """Starts projectors, which end with the test."""
    started: list[Running] = []

    def begin(**changes: Any) -> Running:
        of = settings.model_copy(update=changes)
        started.append(Running(of, server.channel("projector")))
        return started[-1]

    yield begin
    for running in started:
        await running.cut()

"""Signers on the database that each test has for itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest

from command_service.admission.signer import SignerClient
from deploy.local import Endpoints
from paycore.client.sealing import SealingKey
from paycore.runtime.channel import open_channel
from paycore.runtime.clock import SystemClock
from paycore.signing.v1 import signing_service_pb2 as pb
from paycore.signing.v1 import signing_service_pb2_grpc as pb_grpc
from signing_service.keystore.key_ring import KeyRing
from tests.integration.signing.process import SigningProcess
from tests.integration.signing.served import Connect
from tests.integration.signing.signer import Signer
from tests.support.databases import OwnDatabase

Start = Callable[..., Awaitable[Signer]]


@pytest.fixture
def database_name(database: OwnDatabase) -> str:
    return database.name


@pytest.fixture
def signing_dsn(database: OwnDatabase) -> str:
    return database.dsn("signing")


@pytest.fixture
async def owner(database: OwnDatabase) -> AsyncIterator[asyncpg.Connection]:
    """Sees and changes what no service may."""
    connection = await asyncpg.connect(database.dsn("owner"))
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
def keys() -> KeyRing:
    return KeyRing.generate(now_us=1)


@pytest.fixture
async def start(signing_dsn: str, keys: KeyRing) -> AsyncIterator[Start]:
    """Starts signers that share the database and the keys, as several processes would."""
    started: list[Signer] = []

    async def begin(**options: Any) -> Signer:
        started.append(await Signer.start(signing_dsn, keys, **options))
        return started[-1]

    yield begin
    for signer in started:
        await signer.stop()


@pytest.fixture
async def signer(start: Start) -> Signer:
    return await start()


@pytest.fixture
async def service(
    endpoints: Endpoints, signing_dsn: str, tmp_path: Path
) -> AsyncIterator[SigningProcess]:
    service = SigningProcess(endpoints, signing_dsn, tmp_path)
    await service.start()
    yield service
    await service.kill()


@pytest.fixture
async def connect(endpoints: Endpoints, service: SigningProcess) -> AsyncIterator[Connect]:
    """Makes a channel to the service under an identity of the local stack."""
    channels: list[grpc.aio.Channel] = []

    def channel(identity: str) -> grpc.aio.Channel:
        channels.append(open_channel(service.target, endpoints.tls[identity], service="signing"))
        return channels[-1]

    yield channel
    for opened in channels:
        await opened.close(None)


@pytest.fixture
async def sealing(connect: Connect) -> SealingKey:
    stub = pb_grpc.SigningServiceStub(connect("app"))
    reply = await stub.GetPublicKeys(pb.GetPublicKeysRequest(), timeout=10)
    (key,) = (key for key in reply.keys if key.purpose == pb.KEY_PURPOSE_SEALING and key.current)
    return SealingKey(key.key_id, key.public_key)


@pytest.fixture
async def client(connect: Connect) -> AsyncIterator[SignerClient]:
    client = SignerClient(connect("command"), SystemClock())
    await client.start()
    yield client
    await client.stop()

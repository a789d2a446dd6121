"""The data key part of a signing service, on a database of a test's own, in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc

from command_service.personal.owners import Owners
from command_service.personal.vault import Vault
from deploy.local import Endpoints
from deploy.local.services import ACCESS_FILE
from paycore.runtime.channel import SEPARATE_CONNECTION, open_channel
from paycore.runtime.data_keys import DataKeys as DataKeyClient
from paycore.runtime.database import open_pool
from paycore.runtime.pools import PoolName
from paycore.runtime.server import Server
from paycore.runtime.settings import ServiceSettings
from paycore.signing.v1 import data_key_service_pb2
from signing_service.data_key_servicer import DataKeyServicer
from signing_service.data_key_store import DataKeyStore
from signing_service.data_keys import DataKeys
from signing_service.keystore.key_ring import KeyRing
from signing_service.transactions import Transactions
from tests.support.command_core import CommandCore
from tests.support.databases import OwnDatabase

SERVICE = data_key_service_pb2.DESCRIPTOR.services_by_name["DataKeyService"]


@dataclass
class DataKeyServer:
    """Can be away and come back at the same address."""

    endpoints: Endpoints
    keys: DataKeys
    target: str = "127.0.0.1:0"
    _server: Server | None = None

    async def start(self) -> None:
        """Answer."""
        files = self.endpoints.tls["signing"]
        settings = ServiceSettings(
            environment="local",
            listen=self.target,
            metrics_listen="127.0.0.1:1",
            tls_certificate=files.certificate,
            tls_key=files.key,
            tls_ca=files.ca,
            access_file=ACCESS_FILE,
        )
        self._server = Server(settings)
        self._server.add(SERVICE, [DataKeyServicer(self.keys)])
        self.target = f"127.0.0.1:{await self._server.start()}"

    async def stop(self) -> None:
        """Be away."""
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    def channel(self, identity: str = "command") -> grpc.aio.Channel:
        """A channel of a caller's own, to be closed by it."""
        return open_channel(
            self.target, self.endpoints.tls[identity], SEPARATE_CONNECTION, service="signing"
        )


@asynccontextmanager
async def data_key_server(database: OwnDatabase) -> AsyncIterator[DataKeyServer]:
    """A server with a keystore of its own, which has begun to answer."""
    pool = await open_pool(
        database.dsn("signing"), size=2, name=PoolName.SIGNING, application="data-keys-test"
    )
    keystore = KeyRing.generate(now_us=1)
    server = DataKeyServer(database.endpoints, DataKeys(DataKeyStore(Transactions(pool)), keystore))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
        pool.terminate()


@asynccontextmanager
async def vault_without_keys(core: CommandCore) -> AsyncIterator[Vault]:
    """For what carries no details, and so needs no keys: nobody answers who has them."""
    async with open_channel("127.0.0.1:1", None, service="signing") as nowhere:
        yield Vault(
            DataKeyClient(nowhere, core.clock), Owners(core.accounts), core.store, core.clock
        )

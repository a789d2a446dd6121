"""Puts the parts of one signing process together, and takes them down in order."""

from __future__ import annotations

import asyncio

import structlog

from paycore.runtime import metrics
from paycore.runtime.clock import SystemClock
from paycore.runtime.database import open_pool
from paycore.runtime.schema import until_schema_fits
from paycore.runtime.server import Server
from paycore.signing.v1 import signing_service_pb2 as pb
from signing_service.authorizer import Authorizer
from signing_service.clean_up import keep_clean
from signing_service.enrolment import Enroller
from signing_service.hashing_pool import HashingPool
from signing_service.keystore import encrypted_file
from signing_service.keystore.port import Keystore
from signing_service.pins import PinHasher
from signing_service.servicer import SigningServicer
from signing_service.settings import SigningSettings
from signing_service.store import Store

APPLICATION = "paycore-signing"
"""Under this name the database shows the process's sessions."""

log = structlog.get_logger()


def open_keystore(settings: SigningSettings) -> Keystore:
    """The keys that `settings` name, made at first start. Raises KeystoreError, OSError."""
    passphrase = encrypted_file.read_passphrase(settings.keystore_passphrase_file)
    return encrypted_file.load_or_create(settings.keystore_file, passphrase, SystemClock().now_us())


async def serve(settings: SigningSettings, keystore: Keystore, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then drain; before the schema fits, wait for it.

    Raises PaycoreError or what asyncpg raises when the database is not ready, OSError or
    RuntimeError when an address cannot be bound.
    """
    clock = SystemClock()
    metrics.serve(settings.metrics_listen)
    if not await until_schema_fits(settings, APPLICATION, stop):
        return
    pool = await open_pool(
        settings.postgres_dsn.get_secret_value(),
        size=settings.postgres_connections,
        application=APPLICATION,
    )
    hashing = HashingPool(settings.hashing_threads, settings.hashing_capacity)
    try:
        store = Store(pool)
        await store.check_ready()
        hasher = PinHasher(keystore, hashing)
        authorizer = Authorizer(store, keystore, hasher, hashing, clock)
        enroller = Enroller(store, keystore, hasher, hashing)
        server = Server(settings, clock=clock)
        server.add(
            pb.DESCRIPTOR.services_by_name["SigningService"],
            [SigningServicer(authorizer, enroller, keystore)],
        )
        await server.start()
        cleaning = asyncio.create_task(keep_clean(store), name="clean-up")
        await server.set_serving(True)
        log.info("serving", listen=settings.listen, signing_key=keystore.signing_key_id)
        await stop.wait()
        log.info("stopping")
        await server.stop()
        cleaning.cancel()
        await asyncio.gather(cleaning, return_exceptions=True)
        async with asyncio.timeout(settings.shutdown_grace_s):
            await authorizer.drain()
    finally:
        hashing.close()
        await pool.close()

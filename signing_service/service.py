"""Puts the parts of one signing process together, and takes them down in order."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import structlog

from paycore.runtime import metrics
from paycore.runtime.clock import Clock, SystemClock
from paycore.runtime.database import open_pool
from paycore.runtime.event_sinks import SigningSink
from paycore.runtime.pools import PoolName
from paycore.runtime.schema import until_schema_fits
from paycore.runtime.security_events import SecurityEvents
from paycore.runtime.server import Server
from paycore.runtime.untold import in_background
from paycore.signing.v1 import data_key_service_pb2
from paycore.signing.v1 import signing_service_pb2 as pb
from signing_service.authorize_stream import StreamBounds, StreamServicer
from signing_service.authorizer import Authorizer
from signing_service.challenges import Challenges
from signing_service.clean_up import keep_clean
from signing_service.data_key_servicer import DataKeyServicer
from signing_service.data_key_store import DataKeyStore
from signing_service.data_keys import DataKeys
from signing_service.device_keeper import DeviceKeeper
from signing_service.device_store import DeviceStore
from signing_service.events import write_refusals
from signing_service.hashing_pool import HashingPool
from signing_service.key_watch import KeyWatch
from signing_service.keystore.port import Keystore
from signing_service.pin_check import PinChecker
from signing_service.pin_keeper import PinKeeper
from signing_service.pin_store import PinStore
from signing_service.pins import PinHasher
from signing_service.policy import AttemptRules
from signing_service.servicer import SigningServicer
from signing_service.settings import SigningSettings
from signing_service.store import Store
from signing_service.transactions import Transactions
from signing_service.under_way import UnderWay

APPLICATION = "paycore-signing"
"""Under this name the database shows the process's sessions."""

log = structlog.get_logger()


class Parts(NamedTuple):
    """What answers the calls of one process."""

    store: Store
    authorizer: Authorizer
    pins: PinKeeper
    devices: DeviceKeeper
    under_way: UnderWay


def assemble(
    transactions: Transactions,
    keystore: Keystore,
    hashing: HashingPool,
    clock: Clock,
    rules: AttemptRules | None = None,
) -> Parts:
    """The parts of one process, put together."""
    store = Store(transactions, rules, hashing.crowd)
    devices = DeviceStore(transactions)
    hasher = PinHasher(keystore, hashing)
    checker = PinChecker(store, keystore, hasher, hashing, clock)
    challenges = Challenges(keystore, clock)
    under_way = UnderWay()
    return Parts(
        store,
        Authorizer(store, devices, checker, keystore, clock, under_way),
        PinKeeper(PinStore(transactions), checker, challenges, hasher, hashing, under_way),
        DeviceKeeper(devices, checker, challenges, under_way),
        under_way,
    )


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
        name=PoolName.SIGNING,
    )
    events = SecurityEvents(
        SigningSink(settings.postgres_dsn.get_secret_value(), f"{APPLICATION}-events"),
        clock,
        settings.events_window_s,
    )
    events.start()
    write_refusals(events)
    hashing = HashingPool(settings.hashing_threads, settings.hashing_capacity)
    try:
        transactions = Transactions(pool)
        await transactions.check_ready()
        parts = assemble(transactions, keystore, hashing, clock)
        server = Server(settings, clock=clock, events=events)
        server.add(
            pb.DESCRIPTOR.services_by_name["SigningService"],
            [
                SigningServicer(parts.authorizer, parts.pins, parts.devices, keystore),
                StreamServicer(
                    parts.authorizer, clock, StreamBounds(longest_s=settings.longest_call_s)
                ),
            ],
        )
        data_keys = DataKeys(DataKeyStore(Transactions(pool)), keystore)
        server.add(
            data_key_service_pb2.DESCRIPTOR.services_by_name["DataKeyService"],
            [DataKeyServicer(data_keys)],
        )
        await server.start()
        cleaning = in_background(keep_clean(parts.store), "clean-up")
        watching = in_background(KeyWatch(transactions, keystore).run(), "key-watch")
        await server.set_serving(True)
        log.info("serving", listen=settings.listen, signing_key=keystore.signing_key_id)
        await stop.wait()
        log.info("stopping")
        await server.stop()
        for task in (cleaning, watching):
            task.cancel()
        await asyncio.gather(cleaning, watching, return_exceptions=True)
        async with asyncio.timeout(settings.shutdown_grace_s):
            await parts.under_way.drain()
    finally:
        hashing.close()
        write_refusals(None)
        await events.stop()
        keystore.close()
        await pool.close()

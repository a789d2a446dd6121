"""Runs the query service: python -m query_service."""

from __future__ import annotations

import asyncio
import logging
import sys

import structlog

import database
from paycore.runtime import logs, metrics, process
from paycore.runtime.breaker import Breaker, probe_while_open
from paycore.runtime.channel import open_channel
from paycore.runtime.clock import Clock, SystemClock
from paycore.runtime.data_keys import DataKeys
from paycore.runtime.elastic import ElasticAddress, open_client
from paycore.runtime.event_sinks import ServicesSink
from paycore.runtime.identifiers import Identifiers
from paycore.runtime.schema import wait_for_schema
from paycore.runtime.security_events import SecurityEvents
from paycore.runtime.server import Server
from paycore.runtime.settings import read_settings
from paycore.runtime.tls import TlsFiles
from paycore.v1 import analytics_service_pb2, history_service_pb2
from query_service import metrics as query_metrics
from query_service.access import Access
from query_service.grants import GrantsLoader
from query_service.identifiers import LedgerIdentifiers
from query_service.page_token import PageTokens
from query_service.personal import DetailsOpener
from query_service.positions import PositionTracker
from query_service.readers.elastic.analytics import ElasticAnalytics
from query_service.readers.elastic.connection import CONNECTIONS, MAX_WAIT_S, Connection
from query_service.readers.elastic.reader import ElasticPositions, ElasticReader
from query_service.readers.elastic.search import ElasticSearcher
from query_service.readers.fallback import (
    PROBE_EVERY_S,
    PROBE_WITHIN_S,
    TRIPS_AFTER,
    FallbackReader,
)
from query_service.readers.postgres.reader import PostgresReader
from query_service.readers.postgres.snapshots import Snapshots
from query_service.readers.postgres.watched import PostgresWatchedLedger
from query_service.servicers.analytics import AnalyticsServicer
from query_service.servicers.history import HistoryServicer
from query_service.servicers.search import SearchServicer
from query_service.servicers.statements import StatementServicer
from query_service.servicers.watch import WatchServicer
from query_service.settings import QuerySettings
from query_service.watching import metrics as watch_metrics
from query_service.watching.tail import Tail
from query_service.watching.tokens import WatchTokens
from query_service.watching.watchers import Watchers, WatchLimits

log = structlog.get_logger()


async def serve(settings: QuerySettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then drain.

    SERVING once the schema fits and the grants are known.
    """
    clock = SystemClock()
    tokens = PageTokens(settings.page_token_key())
    dsn = settings.postgres_dsn.get_secret_value()
    grants = GrantsLoader(dsn, database.load("query"), clock)
    ledger = LedgerIdentifiers(dsn)
    identifiers = Identifiers(ledger.fetch)
    client = open_client(
        ElasticAddress.of(settings), connections=CONNECTIONS, request_timeout_s=MAX_WAIT_S
    )
    connection = Connection(client, clock)
    positions = PositionTracker(
        ElasticPositions(connection, settings.index_prefix), clock, settings.index_tolerance_s
    )
    index = ElasticReader(connection, positions, settings.index_prefix)
    analytics = ElasticAnalytics(connection, positions, settings.index_prefix)
    signing = open_channel(settings.signing_target, TlsFiles.of(settings), service="signing")
    opener = DetailsOpener(DataKeys(signing, clock))
    snapshots = Snapshots(dsn, clock)
    breaker = Breaker("index", trips_after=TRIPS_AFTER)
    reader = FallbackReader(index, PostgresReader(snapshots, opener, clock), breaker, clock)
    access = Access(grants, reader)
    searcher = ElasticSearcher(connection, positions, settings.index_prefix)
    watched = PostgresWatchedLedger(dsn, opener)
    tail = Tail(watched, clock)
    watch = WatchServicer(
        watched,
        tail,
        Access(grants, watched),
        identifiers,
        WatchTokens(settings.page_token_key()),
        Watchers(WatchLimits(settings.watchers, settings.watchers_of_a_client)),
        clock,
    )
    events = _events(settings, clock)
    server = Server(settings, events=events)
    server.add(
        history_service_pb2.DESCRIPTOR.services_by_name["HistoryService"],
        [
            HistoryServicer(reader, access, identifiers, tokens),
            StatementServicer(reader, access, identifiers, tokens),
            SearchServicer(searcher, access, identifiers, tokens),
            watch,
        ],
    )
    server.add(
        analytics_service_pb2.DESCRIPTOR.services_by_name["AnalyticsService"],
        [AnalyticsServicer(analytics, access, identifiers, clock)],
    )
    query_metrics.watch(positions, connection, snapshots, grants)
    watch_metrics.TAIL_AGE.set_function(tail.age_s)
    endpoint = metrics.serve(settings.metrics_listen)
    try:
        port = await server.start()
        log.info("listening", port=port)
        async with asyncio.TaskGroup() as background:
            tasks = [
                background.create_task(grants.run()),
                background.create_task(positions.run()),
                background.create_task(
                    probe_while_open(
                        breaker, positions.probe, every_s=PROBE_EVERY_S, within_s=PROBE_WITHIN_S
                    )
                ),
                background.create_task(tail.run()),
                background.create_task(_announce(server, dsn, grants, positions)),
            ]
            await stop.wait()
            await server.stop()
            for task in tasks:
                task.cancel()
    finally:
        await server.stop(grace_s=0)
        if events is not None:
            await events.stop()
        await client.close()
        await signing.close(None)
        await snapshots.close()
        await watched.close()
        await grants.close()
        await ledger.close()
        endpoint.shutdown()
    log.info("stopped")


def _events(settings: QuerySettings, clock: Clock) -> SecurityEvents | None:
    """Where denied calls are written, as a role of its own: the service's writes nothing."""
    if settings.trail == "logged" or settings.trail_dsn is None:
        return None
    sink = ServicesSink(settings.trail_dsn.get_secret_value(), "query-trail")
    events = SecurityEvents(sink, clock, settings.events_window_s)
    events.start()
    return events


async def _announce(
    server: Server, dsn: str, grants: GrantsLoader, positions: PositionTracker
) -> None:
    # The database has answered then, which has all of history: the index may be away.
    await wait_for_schema(dsn, "query-schema")
    await grants.loaded.wait()
    # An index that has not been asked how far it is answers nothing.
    await positions.asked.wait()
    await server.set_serving(True)
    log.info("serving")


def main() -> int:
    """Run until SIGTERM or SIGINT; returns the exit code."""
    settings = read_settings(QuerySettings)
    logs.configure("query", settings.log_level)
    # It warns at each failed request; the breaker tells when the index goes and comes.
    logging.getLogger("elastic_transport").setLevel(logging.ERROR)
    return process.run(lambda stop: serve(settings, stop))


if __name__ == "__main__":
    sys.exit(main())

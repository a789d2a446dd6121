"""Runs the query service: python -m query_service."""

from __future__ import annotations

import asyncio
import logging
import sys

import structlog

import database
from paycore.runtime import logs, metrics, process
from paycore.runtime.channel import open_channel
from paycore.runtime.clock import SystemClock
from paycore.runtime.data_keys import DataKeys
from paycore.runtime.elastic import ElasticAddress, open_client
from paycore.runtime.identifiers import Identifiers
from paycore.runtime.schema import wait_for_schema
from paycore.runtime.security_events import PostgresSink, SecurityEvents
from paycore.runtime.server import Server
from paycore.runtime.tls import TlsFiles
from paycore.v1 import analytics_service_pb2, history_service_pb2
from query_service import metrics as query_metrics
from query_service.access import Access
from query_service.grants import GrantsLoader
from query_service.identifiers import LedgerIdentifiers
from query_service.page_token import PageTokens
from query_service.personal import DetailsOpener
from query_service.positions import PositionTracker
from query_service.readers.elastic.connection import CONNECTIONS, MAX_WAIT_S, Connection
from query_service.readers.elastic.reader import ElasticPositions, ElasticReader
from query_service.readers.elastic.search import ElasticSearcher
from query_service.readers.postgres.watched import PostgresWatchedLedger
from query_service.servicers.analytics import AnalyticsServicer
from query_service.servicers.history import HistoryServicer
from query_service.servicers.search import SearchServicer
from query_service.servicers.watch import WatchServicer
from query_service.settings import QuerySettings
from query_service.watching import metrics as watch_metrics
from query_service.watching.tail import Tail
from query_service.watching.tokens import WatchTokens
from query_service.watching.watchers import Watchers, WatchLimits

log = structlog.get_logger()


async def serve(settings: QuerySettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then drain.

    SERVING once the schema fits and grants and the index have answered.
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
    positions = PositionTracker(ElasticPositions(connection, settings.index_prefix), clock)
    reader = ElasticReader(connection, positions, settings.index_prefix)
    access = Access(grants, reader)
    searcher = ElasticSearcher(connection, positions, settings.index_prefix)
    channel = open_channel(settings.signing_target, TlsFiles.of(settings), service="signing")
    watched = PostgresWatchedLedger(dsn, DetailsOpener(DataKeys(channel, clock)))
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
    events = SecurityEvents(
        PostgresSink(settings.primary(), "query-events", "write_for_services"),
        clock,
        settings.events_window_s,
    )
    events.start()
    server = Server(settings, events=events)
    server.add(
        history_service_pb2.DESCRIPTOR.services_by_name["HistoryService"],
        [
            HistoryServicer(reader, access, identifiers, tokens),
            SearchServicer(searcher, access, identifiers, tokens),
            watch,
        ],
    )
    server.add(
        analytics_service_pb2.DESCRIPTOR.services_by_name["AnalyticsService"],
        [AnalyticsServicer(reader, access, identifiers)],
    )
    query_metrics.watch(positions, connection, grants)
    watch_metrics.TAIL_AGE.set_function(tail.age_s)
    endpoint = metrics.serve(settings.metrics_listen)
    try:
        port = await server.start()
        log.info("listening", port=port)
        async with asyncio.TaskGroup() as background:
            tasks = [
                background.create_task(grants.run()),
                background.create_task(positions.run()),
                background.create_task(tail.run()),
                background.create_task(_announce(server, dsn, grants, positions)),
            ]
            await stop.wait()
            await server.stop()
            for task in tasks:
                task.cancel()
    finally:
        await server.stop(grace_s=0)
        await events.stop()
        await client.close()
        await watched.close()
        await channel.close(None)
        await grants.close()
        await ledger.close()
        endpoint.shutdown()
    log.info("stopped")


async def _announce(
    server: Server, dsn: str, grants: GrantsLoader, positions: PositionTracker
) -> None:
    await wait_for_schema(dsn, "query-schema")
    await grants.loaded.wait()
    await positions.answered.wait()
    await server.set_serving(True)
    log.info("serving")


def main() -> int:
    """Run until SIGTERM or SIGINT; returns the exit code."""
    settings = QuerySettings()
    logs.configure("query", settings.log_level)
    # It warns at each failed request; the position tracker tells when the index goes and comes.
    logging.getLogger("elastic_transport").setLevel(logging.ERROR)
    return process.run(lambda stop: serve(settings, stop))


if __name__ == "__main__":
    sys.exit(main())

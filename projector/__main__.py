"""`python -m projector`: the process that keeps the read side up to date."""

from __future__ import annotations

import asyncio
import random
import sys

import structlog

from paycore.runtime import logs, metrics, process
from paycore.runtime.channel import open_channel
from paycore.runtime.clock import SystemClock
from paycore.runtime.data_keys import DataKeys
from paycore.runtime.elastic import ElasticAddress
from paycore.runtime.event_sinks import ServicesSink
from paycore.runtime.security_events import SecurityEvents
from paycore.runtime.server import Server
from paycore.runtime.tls import TlsFiles
from projector.readiness import Readiness
from projector.service import Projector
from projector.settings import ProjectorSettings
from projector.sinks.elastic import ElasticSettings, ElasticSink

_HEALTH_EVERY_S = 0.2

log = structlog.get_logger()


async def serve(settings: ProjectorSettings, stop: asyncio.Event) -> None:
    """Project until `stop`; health tells meanwhile whether that works.

    Raises EpochChangedError when the ledger's history changed, RuntimeError or OSError when an
    address is taken.
    """
    clock, readiness = SystemClock(), Readiness()
    chance = random.Random()  # noqa: S311 - spreads retries
    elastic = elastic_settings(settings)

    def make_sink() -> ElasticSink:
        return ElasticSink(elastic, clock, readiness, chance)

    channel = open_channel(settings.signing_target, TlsFiles.of(settings), service="signing")
    keys = DataKeys(channel, clock)
    sink = ServicesSink(settings.postgres_dsn.get_secret_value(), "projector-events")
    events = SecurityEvents(sink, clock, settings.events_window_s)
    events.start()
    server = Server(settings, events=events)
    endpoint = metrics.serve(settings.metrics_listen)
    port = await server.start()
    log.info("listening", port=port)
    health = asyncio.create_task(_publish(readiness, server))
    try:
        await Projector(settings, make_sink, keys, clock, readiness, chance).run(stop)
    finally:
        health.cancel()
        await asyncio.gather(health, return_exceptions=True)
        await server.stop()
        await events.stop()
        await channel.close(None)
        endpoint.shutdown()
        endpoint.server_close()
    log.info("stopped")


async def _publish(readiness: Readiness, server: Server) -> None:
    told = False
    while True:
        if readiness.ready != told:
            told = readiness.ready
            await server.set_serving(told)
        await asyncio.sleep(_HEALTH_EVERY_S)


def elastic_settings(settings: ProjectorSettings) -> ElasticSettings:
    """The part of `settings` that the sink needs."""
    return ElasticSettings(
        address=ElasticAddress.of(settings),
        prefix=settings.index_prefix,
        bulk_documents=settings.bulk_documents,
        bulk_bytes=settings.bulk_bytes,
        bulks_in_flight=settings.bulks_in_flight,
        refresh_gap_s=settings.refresh_gap_s,
        refresh_gap_behind_s=settings.refresh_gap_behind_s,
    )


def main() -> int:
    """Run the process; returns its exit code."""
    settings = ProjectorSettings()  # from the environment
    logs.configure("projector", settings.log_level)
    return process.run(lambda stop: serve(settings, stop))


if __name__ == "__main__":
    sys.exit(main())

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
from paycore.runtime.event_sinks import ServicesSink
from paycore.runtime.security_events import SecurityEvents
from paycore.runtime.server import Server
from paycore.runtime.settings import read_settings
from paycore.runtime.tls import TlsFiles
from paycore.runtime.untold import in_background
from projector.personal import DetailsOpener
from projector.service import Projector
from projector.settings import ProjectorSettings
from projector.sinks.catalogue import Parts, sinks

_HEALTH_EVERY_S = 0.2

log = structlog.get_logger()


async def serve(settings: ProjectorSettings, stop: asyncio.Event) -> None:
    """Project until `stop`; health tells meanwhile whether that works.

    Raises UnknownSinkError, and RuntimeError or OSError when an address is taken.
    """
    clock = SystemClock()
    channel = open_channel(settings.signing_target, TlsFiles.of(settings), service="signing")
    keys = DataKeys(channel, clock)
    chance = random.Random()  # noqa: S311  # spreads retries
    parts = Parts(DetailsOpener(keys), clock, chance, keys)
    projector = Projector(settings, sinks(settings, parts), parts)
    sink = ServicesSink(settings.postgres_dsn.get_secret_value(), "projector-events")
    events = SecurityEvents(sink, clock, settings.events_window_s)
    events.start()
    server = Server(settings, events=events)
    endpoint = metrics.serve(settings.metrics_listen)
    port = await server.start()
    log.info("listening", port=port)
    health = in_background(_publish(projector, server), "health")
    try:
        await projector.run(stop)
    finally:
        health.cancel()
        await asyncio.gather(health, return_exceptions=True)
        await server.stop()
        await events.stop()
        await channel.close(None)
        endpoint.shutdown()
        endpoint.server_close()
    log.info("stopped")


async def _publish(projector: Projector, server: Server) -> None:
    """Tell how each sink is, and as the process's own health whether all are well."""
    told: dict[str, bool] = {}
    while True:
        for name, readiness in projector.readiness.items():
            if readiness.ready != told.get(name):
                told[name] = readiness.ready
                await server.set_part_serving(f"projector.{name}", readiness.ready)
        if projector.ready != told.get(""):
            told[""] = projector.ready
            await server.set_serving(projector.ready)
        await asyncio.sleep(_HEALTH_EVERY_S)


def main() -> int:
    """Run the process; returns its exit code."""
    settings = read_settings(ProjectorSettings)
    logs.configure("projector", settings.log_level)
    return process.run(lambda stop: serve(settings, stop))


if __name__ == "__main__":
    sys.exit(main())

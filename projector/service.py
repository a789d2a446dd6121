"""Feeds several sinks side by side, none of which waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from projector.feed import Feed
from projector.readiness import Readiness
from projector.settings import ProjectorSettings
from projector.sinks.catalogue import MakeSink, Parts


class Projector:
    """The feeds of one process."""

    def __init__(
        self, settings: ProjectorSettings, sinks: Mapping[str, MakeSink], parts: Parts
    ) -> None:
        self.readiness: Mapping[str, Readiness] = {name: Readiness(name) for name in sinks}
        """How each sink is, by its name."""
        self._feeds = [
            Feed(settings, make_sink, parts.clock, self.readiness[name], parts.chance)
            for name, make_sink in sinks.items()
        ]

    @property
    def ready(self) -> bool:
        """Whether each sink is fed or stood by for, and nothing is in the way of any."""
        return all(readiness.ready for readiness in self.readiness.values())

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`."""
        async with asyncio.TaskGroup() as group:
            for feed in self._feeds:
                group.create_task(feed.run(stop))

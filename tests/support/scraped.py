"""What processes show to Prometheus, read as Prometheus reads it: over HTTP."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Shown:
    """The samples of some processes at one moment."""

    samples: tuple[Sample, ...]

    def find(self, name: str, **labels: str) -> list[float]:
        """Values of all samples of `name` that have `labels`, whatever others they have."""
        return [
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def total(self, name: str, **labels: str) -> float:
        """Their sum; where there are none, 0."""
        return sum(self.find(name, **labels))

    def one(self, name: str, **labels: str) -> float:
        """The value of the only one."""
        [value] = self.find(name, **labels)
        return value


def read(url: str) -> str:
    """What the endpoint at `url` answers."""
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as reply:
        return bytes(reply.read()).decode()


def parsed(texts: Iterable[str]) -> Shown:
    """The samples in texts of Prometheus' format."""
    return Shown(
        tuple(
            sample
            for text in texts
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        )
    )


async def scrape(*urls: str) -> Shown:
    """What the endpoints at `urls` show now."""
    return parsed(await asyncio.gather(*(asyncio.to_thread(read, url) for url in urls)))


async def shown_when(wanted: Callable[[Shown], bool], *urls: str, within_s: float = 30.0) -> Shown:
    """The first that is as `wanted`. Raises AssertionError when there is none within `within_s`."""
    give_up_s = time.monotonic() + within_s
    while not wanted(shown := await scrape(*urls)):
        assert time.monotonic() < give_up_s, "the metrics never said so"
        await asyncio.sleep(0.1)
    return shown

"""What every process has, and what the services' own metrics say, looked at every few seconds."""

from __future__ import annotations

import asyncio
import os
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from deploy.local import LocalStack
from deploy.local.layout import SERVICES

SCRAPE_TIMEOUT_S = 5.0
ASKED_EVERY_S = 10.0

Process = tuple[str, int]
"""A part, and the id of one of its processes."""

SHARING = "postgres"
"""A part whose processes share most of what they have: it is divided between them (PSS). It takes
long to find out, and is of no account for the others."""

LAG = "paycore_projector_lag_seconds"
QUEUE = "paycore_queue_depth"
POOL_WAIT = "paycore_database_pool_wait_seconds"
WANTED = (LAG, QUEUE, POOL_WAIT)


class Needs(NamedTuple):
    """Of one process at one moment."""

    at_s: float
    """Since the first look."""
    resident: int
    """Bytes; what PostgreSQL's processes share is divided between them."""
    private: int
    """Bytes of it that are no file's: heap and stacks."""
    descriptors: int


@dataclass(frozen=True)
class Histogram:
    """A Prometheus histogram, of all processes together."""

    buckets: Mapping[float, float]
    """Cumulative counts by upper bound in seconds."""
    total_s: float

    @property
    def count(self) -> float:
        return self.buckets.get(float("inf"), 0.0)

    def since(self, earlier: Histogram | None) -> Histogram:
        """What came after `earlier`; all of it where a process has started anew in between."""
        if earlier is None or earlier.count > self.count:
            return self
        buckets = {le: n - earlier.buckets.get(le, 0.0) for le, n in self.buckets.items()}
        return Histogram(buckets, self.total_s - earlier.total_s)

    def within_s(self, percent: float) -> float | None:
        """The lowest bound that so many of the values stay within; None without values."""
        if not self.count:
            return None
        due = self.count * percent / 100
        return next(le for le, n in sorted(self.buckets.items()) if n >= due)


@dataclass
class Scrape:
    """What the services' metrics said at one moment."""

    at_s: float
    lag: dict[str, Histogram] = field(default_factory=dict)
    """By sink: from a journal row's writing until its readers find it."""
    pool_wait: dict[str, Histogram] = field(default_factory=dict)
    """By pool: how long its connections were waited for."""
    queue: float = 0.0
    """Commands that wait for a batch, in all command processes."""
    silent: int = 0
    """Processes that did not answer."""


@dataclass
class Samples:
    """All that was seen."""

    needs: dict[Process, list[Needs]] = field(default_factory=lambda: defaultdict(list))
    scrapes: list[Scrape] = field(default_factory=list)
    restarts: dict[str, int] = field(default_factory=dict)
    """How often a part died and was started again meanwhile."""

    def of_service(self) -> Iterator[tuple[Process, list[Needs]]]:
        """Processes of paycore's own services."""
        return ((one, seen) for one, seen in sorted(self.needs.items()) if one[0] in SERVICES)

    def of_stores(self) -> dict[str, list[Needs]]:
        """Each store as a whole: PostgreSQL's processes come and go with its connections."""
        found: dict[str, list[Needs]] = {}
        for part in sorted({part for part, _ in self.needs if part not in SERVICES}):
            sums: dict[float, list[int]] = defaultdict(lambda: [0, 0, 0])
            for (name, _), seen in self.needs.items():
                if name == part:
                    for one in seen:
                        for at, value in enumerate(one[1:]):
                            sums[one.at_s][at] += value
            found[part] = [Needs(at_s, *values) for at_s, values in sorted(sums.items())]
        return found


@asynccontextmanager
async def sampled(stack: LocalStack, every_s: float) -> AsyncIterator[Samples]:
    """Look while the block runs, and once more at its end. No process holds it up."""
    samples = Samples()
    before = {part: stack.part_restarts(part) for part in stack.parts}
    processes = _Processes(stack)
    began_s = time.monotonic()

    async def look() -> None:
        at_s = time.monotonic() - began_s
        for process, needs in await asyncio.to_thread(processes.needs, at_s):
            samples.needs[process].append(needs)
        samples.scrapes.append(await _scrape(stack, at_s))

    async def go_on() -> None:
        while True:
            await look()
            await asyncio.sleep(every_s)

    task = asyncio.create_task(go_on())
    try:
        yield samples
    finally:
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        if not isinstance(ended, asyncio.CancelledError):
            raise AssertionError("the sampling ended by itself") from ended
        await look()
        samples.restarts = {part: stack.part_restarts(part) - before[part] for part in stack.parts}


class _Processes:
    """Those of all parts. Which there are is asked only now and then: on a machine with many
    processes it takes long to find out."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._known: list[Process] = []
        self._asked_at_s = float("-inf")

    def needs(self, at_s: float) -> list[tuple[Process, Needs]]:
        """What each process has now."""
        if at_s - self._asked_at_s >= ASKED_EVERY_S:
            self._asked_at_s = at_s
            stack = self._stack
            self._known = [(part, pid) for part in stack.parts for pid in stack.part_pids(part)]
        found = []
        for part, pid in self._known:
            try:
                found.append(((part, pid), of_process(part, pid, at_s)))
            except (FileNotFoundError, ProcessLookupError):
                # It has ended since; what follows it is to be found soon.
                self._asked_at_s = float("-inf")
        return found


def of_process(part: str, pid: int, at_s: float) -> Needs:
    """What a process has now. Raises FileNotFoundError or ProcessLookupError where it is gone."""
    status = _kib(f"/proc/{pid}/status")
    resident = status["VmRSS"]
    if part == SHARING:
        resident = _kib(f"/proc/{pid}/smaps_rollup")["Pss"]
    files = len(os.listdir(f"/proc/{pid}/fd"))
    return Needs(at_s, resident * 1024, status["RssAnon"] * 1024, files)


def _kib(path: str) -> dict[str, int]:
    """The lines of a file of proc(5) that state sizes in kB."""
    found = {}
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            found[name] = int(value.split()[0])
    if not found:
        # Of a process that has ended and was not waited for yet there is a file without sizes.
        raise ProcessLookupError(path)
    return found


async def _scrape(stack: LocalStack, at_s: float) -> Scrape:
    urls = [
        (service, url)
        for service in SERVICES
        if service in stack.parts
        for url in stack.endpoints.metrics_urls[service]
    ]
    scrape = Scrape(at_s)
    lag: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    waits: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    texts = await asyncio.gather(*(asyncio.to_thread(_read, url) for _, url in urls))
    for (service, _), text in zip(urls, texts, strict=True):
        if text is None:
            scrape.silent += 1
            continue
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                part = sample.name.removeprefix(family.name)
                at = part + sample.labels.get("le", "")
                if family.name == LAG:
                    lag[sample.labels["sink"]][at] += sample.value
                elif family.name == POOL_WAIT:
                    waits[f"{service} {sample.labels['pool']}"][at] += sample.value
                elif sample.name == QUEUE:
                    scrape.queue += sample.value
    scrape.lag = {name: _histogram(values) for name, values in lag.items()}
    scrape.pool_wait = {name: _histogram(values) for name, values in waits.items()}
    return scrape


def _histogram(values: Mapping[str, float]) -> Histogram:
    buckets = {
        float(name.removeprefix("_bucket")): value
        for name, value in values.items()
        if name.startswith("_bucket")
    }
    return Histogram(buckets, values.get("_sum", 0.0))


def _read(url: str) -> str | None:
    """What is wanted of a process's metrics; None where it is not there, or does not answer.

    The rest is left out before it is parsed: that takes time from the load.
    """
    try:
        with urllib.request.urlopen(url, timeout=SCRAPE_TIMEOUT_S) as reply:
            lines = bytes(reply.read()).decode().splitlines()
    except (OSError, urllib.error.URLError):
        return None
    return "".join(
        f"{line}\n"
        for line in lines
        if line.removeprefix("# HELP ").removeprefix("# TYPE ").startswith(WANTED)
    )

"""What the services' processes need and count while they are called."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

from prometheus_client.parser import text_string_to_metric_families

from deploy.local import LocalStack
from deploy.local.layout import SERVICES
from paycore.domain.errors import Reason
from tests.support.scraped import read

Process = tuple[str, int]
"""A service, and the id of one of its processes."""

WARM_UP = 0.3
"""Share of a run after which a process has what it keeps: connections, caches, arenas."""

EVERY_S = 1.0


class Needs(NamedTuple):
    """Of one process at one moment."""

    at_s: float
    resident: int
    """Bytes."""
    descriptors: int


def needs(stack: LocalStack) -> dict[Process, Needs]:
    """What each process of the services has now."""
    found = {}
    for service in SERVICES:
        for pid in stack.part_pids(service):
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            descriptors = len(os.listdir(f"/proc/{pid}/fd"))
            resident = pages * os.sysconf("SC_PAGE_SIZE")
            found[service, pid] = Needs(time.monotonic(), resident, descriptors)
    return found


@dataclass
class Watch:
    """Looks at the processes every EVERY_S; use as an async context manager."""

    stack: LocalStack
    seen: dict[Process, list[Needs]] = field(default_factory=dict)
    _task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.look()
        self._task = asyncio.create_task(self._go_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])
        self.look()

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            self.look()

    def look(self) -> None:
        """Note what each process needs now."""
        for process, seen in needs(self.stack).items():
            self.seen.setdefault(process, []).append(seen)


def between(seen: Sequence[Needs], first: float, last: float) -> Needs:
    """The middle of what was seen between two shares of the time watched, figure by figure."""
    began, ended = seen[0].at_s, seen[-1].at_s
    span = ended - began
    some = [one for one in seen if first <= (one.at_s - began) / (span or 1) <= last] or seen[-1:]
    return Needs(
        some[-1].at_s,
        sorted(one.resident for one in some)[len(some) // 2],
        sorted(one.descriptors for one in some)[len(some) // 2],
    )


def after_warm_up(seen: Sequence[Needs]) -> tuple[Needs, Needs]:
    """What a process needed in the tenth of the run after the warm-up, and in the last one."""
    return between(seen, WARM_UP, WARM_UP + 0.1), between(seen, 0.9, 1.0)


@dataclass(frozen=True)
class Counts:
    """What all processes of the services have counted since they started."""

    answers: Counter[tuple[str, str]]
    """Calls by method and reason."""
    seconds: Counter[float]
    """Calls that took no longer than so many seconds."""
    under_way: float
    """Calls and streams that have not ended."""
    processes: int

    def since(self, before: Counts) -> Counts:
        """What was counted after `before`."""
        return Counts(
            Counter(self.answers - before.answers),
            Counter(self.seconds - before.seconds),
            self.under_way,
            self.processes,
        )

    @property
    def internal(self) -> Mapping[str, int]:
        """By method how often a service said that it had failed."""
        return {m: n for (m, r), n in self.answers.items() if r == Reason.INTERNAL and n}


BETWEEN_SERVICES = "paycore.signing.v1.SigningService/AuthorizeStream"
"""A stream that the command service holds open of its own accord, whoever calls."""


async def counts(stack: LocalStack) -> Counts:
    """Ask every process of every service."""
    urls = [url for service in SERVICES for url in stack.endpoints.metrics_urls[service]]
    answers: Counter[tuple[str, str]] = Counter()
    seconds: Counter[float] = Counter()
    under_way = 0.0
    for text in await asyncio.gather(*(asyncio.to_thread(read, url) for url in urls)):
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                match sample.name:
                    case "paycore_calls_total":
                        labels = sample.labels
                        answers[labels["method"], labels["reason"]] += int(sample.value)
                    case "paycore_call_seconds_bucket":
                        seconds[float(sample.labels["le"])] += int(sample.value)
                    case "paycore_calls_under_way":
                        under_way += sample.value
                    case "paycore_streams" if sample.labels["method"] == BETWEEN_SERVICES:
                        under_way -= sample.value
                    case _:
                        pass
    return Counts(answers, seconds, under_way, len(urls))


async def under_way(stack: LocalStack, within_s: float) -> float:
    """Calls that have not ended; waits until there are none, at most `within_s`."""
    give_up_s = time.monotonic() + within_s
    while (left := (await counts(stack)).under_way) and time.monotonic() < give_up_s:
        await asyncio.sleep(0.1)
    return left


def faults_logged(stack: LocalStack, read_from: Mapping[str, int]) -> list[str]:
    """Lines since `read_from` that tell of a fault."""
    return [
        f"{service}: {line[:400]}"
        for service in SERVICES
        for line in stack.part_log(service).read_bytes()[read_from[service] :].decode().splitlines()
        if '"level": "error"' in line or "Traceback" in line or '"level": "critical"' in line
    ]

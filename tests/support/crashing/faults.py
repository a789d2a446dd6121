"""What can befall the parts, each fault by its name. All of it comes from outside: signals to
processes, proxies between them; no part has a switch for it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass

import asyncpg

from deploy.local.endpoints import DATABASE, with_place
from tests.support.crashing.load import Load
from tests.support.crashing.proxied_stack import ProxiedStack
from tests.support.postgres_proxy import Cut
from tests.support.tcp_proxy import TcpProxy

BACK_WITHIN_S = 600.0
"""Longest that a part may take to come back, on a machine with much other work."""

POLL_S = 0.005

KILLS = {
    "command": 5,
    "signing": 5,
    "projector": 5,
    "query": 4,
    "postgres": 6,
    "redis": 5,
    "elasticsearch": 1,
}
"""How often each part is killed in a round of all."""

OFF_PATH = ("projector", "query", "elasticsearch")
"""Parts for which no payment waits."""

Strike = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """Something that happens, and is over when it returns."""

    kind: str
    name: str
    strike: Strike
    long: bool = False
    """Whether it takes too long for a short round."""
    times: int = 1
    """How often it strikes in a round of all."""
    crash: bool = False
    """Whether processes are killed."""
    always: bool = False
    """Whether no round goes without it, a short one either."""
    on_path: bool = True
    """Whether payments may have to wait for its end."""
    judged: bool = False
    """Whether the time is taken from its end to the next payment: nothing that payments might wait
    for strikes together with it."""


class Faults:
    """All faults there are, for one stack under one load."""

    def __init__(
        self, proxied: ProxiedStack, load: Load, rng: random.Random, longest_s: float
    ) -> None:
        """`longest_s` bounds how long something stays paused, away or slow."""
        self._proxied = proxied
        self._stack = proxied.stack
        self._links = proxied.links
        self._load = load
        self._rng = rng
        self._longest_s = longest_s
        self.struck: Counter[tuple[str, str]] = Counter()
        """How often, by kind and name."""
        self.missed: Counter[str] = Counter()
        """Fail points whose moment did not come, and links over which nothing went."""
        self.postgres_back_s: list[float] = []
        """Of each time that PostgreSQL was gone: from the beginning of the first login that it took
        to when a client was told of a payment that was decided after that, in seconds."""

    @property
    def all(self) -> list[Fault]:
        """In an order that is always the same."""
        found = [
            _killed("a command worker", self._kill_worker, 8),
            _killed("postgres, stopped immediately", self._postgres_immediate, 4, judged=True),
            *(_killed(part, self._kills(part), times) for part, times in KILLS.items()),
            Fault("paused", "a command worker", self._pause_worker),
            *(
                Fault("paused", part, self._pauses(part), on_path=part not in OFF_PATH)
                for part in KILLS
                if part != "command"
            ),
            Fault("away", "signing", self._stops("signing")),
            Fault("away", "postgres", self._stops("postgres"), judged=True),
            Fault("away", "redis", self._stops("redis")),
            Fault("away", "redis, three times as long", self._stops("redis", 3.0), long=True),
            Fault("away", "elasticsearch", self._stops("elasticsearch"), long=True, on_path=False),
        ]
        for link, proxy in self._links.all.items():
            on_path = link.partition("-")[0] not in OFF_PATH
            found += [
                Fault(kind, link, strike, on_path=on_path)
                for kind, strike in {
                    "late": self._slows(proxy, latency_s=0.15),
                    "narrow": self._slows(proxy, bytes_per_s=64_000),
                    "reset": self._resets(proxy),
                    "half-open": self._vanishes(link, proxy),
                    "torn": self._tears(link, proxy),
                }.items()
            ]
        return [
            *found,
            _moment("before commit", self._at_commit(Cut.BEFORE, kill=False)),
            _moment("before commit, killed", self._at_commit(Cut.BEFORE, kill=True), 4),
            _moment("after commit", self._at_commit(Cut.AFTER, kill=False)),
            _moment("after commit, killed", self._at_commit(Cut.AFTER, kill=True), 4),
            _moment("between sinks", self._between_sinks, 2),
            _moment("before a PIN's verdict", self._before_verdict, 2),
        ]

    @property
    def crashes(self) -> int:
        """How often processes were killed."""
        return sum(self.struck[fault.kind, fault.name] for fault in self.all if fault.crash)

    async def strike(self, fault: Fault) -> None:
        """Have `fault` happen, and count it where its moment came."""
        missed = self.missed[fault.name]
        await fault.strike()
        self.struck[fault.kind, fault.name] += self.missed[fault.name] == missed

    async def heal(self) -> None:
        """Every link is whole, every part goes on and is ready."""
        for proxy in self._links.all.values():
            await proxy.heal()
        self._links.command_postgres.cut_never()
        self._links.command_postgres.struck = None
        for part in self._stack.parts:
            _signal(self._stack.part_pids(part), signal.SIGCONT)
        for part in self._stack.parts:
            await self._ready(part)

    async def _ready(self, part: str) -> None:
        await asyncio.to_thread(self._stack.wait_part, part, BACK_WITHIN_S)

    def _span_s(self) -> float:
        return self._rng.uniform(min(1.0, self._longest_s / 2), self._longest_s)

    def _kills(self, part: str) -> Strike:
        async def strike() -> None:
            await asyncio.to_thread(self._stack.crash_part, part)
            if part == "postgres":
                await self._first_payment()
            await self._ready(part)

        return strike

    async def _kill_worker(self) -> None:
        victim = self._rng.choice(self._proxied.workers())
        _signal([victim], signal.SIGKILL)
        await self._workers(without={victim})

    async def _workers(self, without: Collection[int]) -> None:
        async with asyncio.timeout(BACK_WITHIN_S):
            while len(found := self._proxied.workers()) < 2 or set(found) & set(without):
                await asyncio.sleep(0.1)

    async def _postgres_immediate(self) -> None:
        restarts = self._stack.part_restarts("postgres")
        # The main process alone: it sees to its children, as `pg_ctl stop -m immediate` has it.
        _signal(self._stack.part_pids("postgres")[:1], signal.SIGQUIT)
        async with asyncio.timeout(BACK_WITHIN_S):
            while self._stack.part_restarts("postgres") == restarts:
                await asyncio.sleep(0.02)
        await self._first_payment()
        await self._ready("postgres")

    async def _first_payment(self) -> None:
        """Wait for PostgreSQL to let somebody in, and from then on for a payment.

        It counts where it was decided after that: an answer to an older one may have been late.
        """
        back_s, back_us = await self._postgres_back()
        history = self._load.history
        async with asyncio.timeout(BACK_WITHIN_S):
            while (told := history.newest) is None or told.transfers[0].created_at_us < back_us:
                await asyncio.sleep(POLL_S)
        self.postgres_back_s.append(told.ended_s - back_s)

    async def _postgres_back(self) -> tuple[float, int]:
        """When the login began that was the first to work: monotonic seconds, and microseconds
        since 1970."""
        async with asyncio.timeout(BACK_WITHIN_S):
            while True:
                began = time.monotonic(), time.time_ns() // 1_000
                try:
                    connection = await asyncpg.connect(
                        self._proxied.endpoints.postgres_admin_dsn, timeout=5
                    )
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    await asyncio.sleep(POLL_S)
                else:
                    connection.terminate()
                    return began

    async def _pause_worker(self) -> None:
        await self._pause([self._rng.choice(self._proxied.workers())])

    def _pauses(self, part: str) -> Strike:
        async def strike() -> None:
            await self._pause(self._stack.part_pids(part))

        return strike

    async def _pause(self, pids: Collection[int]) -> None:
        _signal(pids, signal.SIGSTOP)
        try:
            await asyncio.sleep(self._span_s())
        finally:
            _signal(pids, signal.SIGCONT)

    def _stops(self, part: str, times: float = 1.0) -> Strike:
        async def strike() -> None:
            await asyncio.to_thread(self._stack.stop_part, part)
            try:
                await asyncio.sleep(times * self._span_s())
            finally:
                starting = asyncio.create_task(asyncio.to_thread(self._stack.start_part, part))
                if part == "postgres":
                    await self._first_payment()
                await starting

        return strike

    def _slows(self, proxy: TcpProxy, latency_s: float = 0.0, bytes_per_s: int = 0) -> Strike:
        async def strike() -> None:
            proxy.latency_s, proxy.bytes_per_s = latency_s, bytes_per_s
            await asyncio.sleep(self._span_s())
            await proxy.heal()

        return strike

    def _resets(self, proxy: TcpProxy) -> Strike:
        async def strike() -> None:
            for _ in range(3):
                await proxy.cut()
                await asyncio.sleep(self._rng.uniform(0.05, 0.5))

        return strike

    def _vanishes(self, name: str, proxy: TcpProxy) -> Strike:
        async def strike() -> None:
            lost = proxy.lost
            proxy.vanishing = True
            await asyncio.sleep(self._span_s())
            await proxy.heal()
            self.missed[name] += proxy.lost == lost

        return strike

    def _tears(self, name: str, proxy: TcpProxy) -> Strike:
        async def strike() -> None:
            torn = proxy.torn
            proxy.tearing = self._rng.randint(1, 4)
            await asyncio.sleep(self._span_s())
            await proxy.heal()
            self.missed[name] += proxy.torn == torn

        return strike

    def _at_commit(self, cut: Cut, *, kill: bool) -> Strike:
        """The connection breaks there, or the processes die at that very moment."""

        async def strike() -> None:
            proxy = self._links.command_postgres
            victims = self._proxied.workers() if kill else []
            due = proxy.cuts + (1 if kill else 3)
            proxy.struck = lambda: _signal(victims, signal.SIGKILL)
            proxy.cut_next(*[cut] * (due - proxy.cuts))
            try:
                async with asyncio.timeout(60):
                    while proxy.cuts < due:
                        await asyncio.sleep(POLL_S)
            finally:
                proxy.cut_never()
                proxy.struck = None
            if kill:
                await self._workers(without=victims)

        return strike

    async def _between_sinks(self) -> None:
        """One sink has what the other has not: there the projector is killed."""
        proxy = self._links.projector_redis
        proxy.vanishing = True
        reached = await self._moment(
            "SELECT max(xid::text::bigint) > min(xid::text::bigint) FROM projection.checkpoints"
            " WHERE sink IN ('elasticsearch', 'stream')",
            "between sinks",
        )
        await proxy.heal()
        if reached:
            await self._kills("projector")()

    async def _before_verdict(self) -> None:
        """An attempt is reserved and has no verdict: there the signing service is killed."""
        # The verdict is late, so that there is such a moment to be seen.
        self._links.signing_postgres.latency_s = 0.1
        reached = await self._moment(
            "SELECT EXISTS (SELECT FROM signing.attempts WHERE verdict IS NULL)",
            "before a PIN's verdict",
        )
        if reached:
            await asyncio.to_thread(self._stack.crash_part, "signing")
        await self._links.signing_postgres.heal()
        await self._ready("signing")

    async def _moment(self, question: str, name: str, within_s: float = 30.0) -> bool:
        """Whether the tables came to answer `question` with yes."""
        dsn = with_place(self._proxied.endpoints.postgres_admin_dsn, database=DATABASE)
        connection = await asyncpg.connect(dsn)
        try:
            async with asyncio.timeout(within_s):
                while not await connection.fetchval(question):
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            self.missed[name] += 1
            return False
        finally:
            await connection.close()
        return True


def _killed(part: str, strike: Strike, times: int, *, judged: bool = False) -> Fault:
    return Fault(
        "killed",
        part,
        strike,
        long=part == "elasticsearch",
        times=times,
        crash=True,
        always=part == "postgres",
        on_path=part not in OFF_PATH,
        judged=judged or part == "postgres",
    )


def _moment(name: str, strike: Strike, times: int = 1) -> Fault:
    """A fail point; all but those that only cut a connection kill."""
    return Fault(
        "fail point",
        name,
        strike,
        times=times,
        crash=name not in ("before commit", "after commit"),
        on_path=name != "between sinks",
    )


def _signal(pids: Collection[int], number: signal.Signals) -> None:
    for pid in pids:
        # One that has ended since it was listed needs no signal any more.
        with suppress(ProcessLookupError):
            os.kill(pid, number)

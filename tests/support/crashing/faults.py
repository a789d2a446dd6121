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

Strike = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """Something that happens, and is over when it returns."""

    kind: str
    name: str
    strike: Strike
    long: bool = False
    """Whether it takes too long for a short round."""


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
        """From the first login that PostgreSQL took to the next payment, in seconds."""

    @property
    def all(self) -> list[Fault]:
        """In an order that is always the same."""
        stores = ("postgres", "redis", "elasticsearch")
        services = ("command", "signing", "projector", "query")
        found = [
            Fault("killed", "a command worker", self._kill_worker),
            Fault("killed", "postgres, stopped immediately", self._postgres_immediate),
            *(
                Fault("killed", part, self._kills(part), part == "elasticsearch")
                for part in (*services, *stores)
            ),
            Fault("paused", "a command worker", self._pause_worker),
            *(Fault("paused", part, self._pauses(part)) for part in (*services[1:], *stores)),
            *(
                Fault("away", part, self._stops(part), part == "elasticsearch")
                for part in ("signing", *stores)
            ),
            Fault("away", "redis, three times as long", self._stops("redis", 3.0), long=True),
        ]
        for link, proxy in self._links.all.items():
            found += [
                Fault("late", link, self._slows(proxy, latency_s=0.15)),
                Fault("narrow", link, self._slows(proxy, bytes_per_s=64_000)),
                Fault("reset", link, self._resets(proxy)),
                Fault("half-open", link, self._vanishes(link, proxy)),
                Fault("torn", link, self._tears(link, proxy)),
            ]
        return [
            *found,
            Fault("fail point", "before commit", self._at_commit(Cut.BEFORE, kill=False)),
            Fault("fail point", "before commit, killed", self._at_commit(Cut.BEFORE, kill=True)),
            Fault("fail point", "after commit", self._at_commit(Cut.AFTER, kill=False)),
            Fault("fail point", "after commit, killed", self._at_commit(Cut.AFTER, kill=True)),
            Fault("fail point", "between sinks", self._between_sinks),
            Fault("fail point", "before a PIN's verdict", self._before_verdict),
        ]

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
        """Wait for PostgreSQL to let somebody in, and from then on for a payment."""
        back_s = await self._postgres_back()
        async with asyncio.timeout(BACK_WITHIN_S):
            while self._load.acknowledged_at_s < back_s:
                await asyncio.sleep(0.01)
        self.postgres_back_s.append(self._load.acknowledged_at_s - back_s)

    async def _postgres_back(self) -> float:
        """When it was that one could log in again."""
        async with asyncio.timeout(BACK_WITHIN_S):
            while True:
                try:
                    connection = await asyncpg.connect(
                        self._proxied.endpoints.postgres_admin_dsn, timeout=5
                    )
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    await asyncio.sleep(POLL_S)
                else:
                    connection.terminate()
                    return time.monotonic()

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


def _signal(pids: Collection[int], number: signal.Signals) -> None:
    for pid in pids:
        # One that has ended since it was listed needs no signal any more.
        with suppress(ProcessLookupError):
            os.kill(pid, number)

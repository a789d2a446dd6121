"""A posting engine on a store that does what a test says, without a database."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from command_service.posting.engine import PostingEngine
from command_service.posting.pacing import EngineLimits
from command_service.posting.store import Decide, Wants
from paycore.domain.accounts import AccountId
from paycore.domain.plan import BatchState
from paycore.domain.rules import Rules
from paycore.domain.transfers import Command, Outcome, Refused
from tests.support.clocks import ManualClock
from tests.support.samples import NOW_US, account, rules

LATER_S = 60.0
"""Deadlines of these tests, after the clock's beginning."""

ENGINE_TASKS = ("posting-batch", "held-up")

Happens = Callable[[Sequence[Command]], None]
"""Raises what an attempt comes to; returns where it succeeds."""


def fine(_: Sequence[Command]) -> None:
    return None


def always(failure: Exception) -> Happens:
    def happens(_: Sequence[Command]) -> None:
        raise failure

    return happens


@dataclass
class Ids:
    """Ids from 1 on."""

    taken: list[int] = field(default_factory=list)

    async def take(self, count: int) -> list[int]:
        first = sum(self.taken) + 1
        self.taken.append(count)
        return list(range(first, first + count))


@dataclass
class Store:
    """Decides by the engine's own plan, on accounts 1 to 9, unless an attempt is to fail."""

    happens: list[Happens] = field(default_factory=list)
    """Of one attempt after the other; `otherwise` of all that come after."""
    otherwise: Happens = fine
    attempts: list[list[Command]] = field(default_factory=list)
    journals: list[int] = field(default_factory=list)
    held: set[AccountId] = field(default_factory=set)
    gates: dict[int, asyncio.Event] = field(default_factory=dict)
    """By attempt, from 1 on: what it waits for."""
    leaves_out: int = 0
    """How many outcomes it leaves out of each answer."""

    async def post(
        self, commands: Sequence[Command], journal_id: int, decide: Decide, wants: Wants
    ) -> list[Outcome]:
        self.attempts.append(list(commands))
        self.journals.append(journal_id)
        if gate := self.gates.get(len(self.attempts)):
            await gate.wait()
        (self.happens.pop(0) if self.happens else self.otherwise)(commands)
        accounts = {AccountId(one): account(one) for one in range(1, 10)}
        wants(commands, accounts)
        outcomes = decide(BatchState(accounts, {})).outcomes
        return outcomes[: len(outcomes) - self.leaves_out]

    async def find_held(self, accounts: Collection[AccountId]) -> frozenset[AccountId]:
        return frozenset(self.held & set(accounts))


@dataclass
class World:
    """An engine and all that it asks."""

    store: Store = field(default_factory=Store)
    ids: Ids = field(default_factory=Ids)
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW_US / 1_000_000))
    rules: Rules = field(default_factory=rules)
    pauses: list[float] = field(default_factory=list)
    told: list[tuple[Command, Outcome]] = field(default_factory=list)
    """What became of commands, as `ended` was told."""

    def engine(self, **limits: Any) -> PostingEngine:
        # With a clock that stands still nobody would come to gather.
        made = EngineLimits(**{"gather": 0.0, **limits})
        store: Any = self.store
        ids: Any = self.ids

        def ended(which: Command, outcome: Outcome) -> None:
            self.told.append((which, outcome))

        return PostingEngine(store, lambda: self.rules, ids, self.clock, made, ended)

    @property
    def later_s(self) -> float:
        return self.clock.monotonic_s() + LATER_S

    async def pause(self, wait_s: float) -> None:
        self.pauses.append(wait_s)
        await asyncio.sleep(0)


@asynccontextmanager
async def nothing_fails() -> AsyncIterator[None]:
    """What the engine's tasks and callbacks raise that nobody hears of fails the test."""
    loop = asyncio.get_running_loop()
    heard: list[dict[str, Any]] = []

    def hear(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # A task says what nobody asked it for when it goes, which may be tests later.
        task = context.get("future")
        if not isinstance(task, asyncio.Task) or task.get_name() in ENGINE_TASKS:
            heard.append(context)

    before = loop.get_exception_handler()
    loop.set_exception_handler(hear)
    try:
        yield
        await turns()
        # Those of this test are young.
        gc.collect(1)
    finally:
        loop.set_exception_handler(before)
    assert heard == []


def told(outcomes: Sequence[Outcome]) -> list[str]:
    """POSTED, or the reason of a refusal."""
    return [
        one.error.reason.value if isinstance(one, Refused) else type(one).__name__.upper()
        for one in outcomes
    ]


async def turns(count: int = 5) -> None:
    """Let the event loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(done: Callable[[], bool], within_s: float = 5.0) -> None:
    """Let the event loop turn until it is `done`."""
    async with asyncio.timeout(within_s):
        while not done():
            await asyncio.sleep(0)

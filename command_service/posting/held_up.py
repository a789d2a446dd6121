"""Accounts that someone else holds for longer than a batch waits, and who waits for them.

A process that was stopped in the middle of its transaction keeps its row locks until the server
ends it. Only commands that need those rows may feel it, so they wait outside of the batches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable

import structlog

from command_service import anew
from command_service.posting.store import LedgerStore, UnreachableError
from command_service.posting.waiting import Waiting, needing, refuse
from paycore.domain.accounts import AccountId
from paycore.runtime.clock import Clock

LOOKS_S = (0.1, 0.2, 0.4, 0.4)
"""Waits before each look at whether the accounts are free again, in seconds, each with as much
jitter again; then CONTENTION."""

SUSPECTED_FOR_S = 15.0
"""How long a batch looks at accounts that were once held before it waits for their locks: longer
than the server leaves a transaction open whose process does nothing."""

MOST_WAITING = 16
"""Sets of commands that wait at a time; more are answered with CONTENTION at once."""

log = structlog.get_logger()

Post = Callable[[list[Waiting]], Awaitable[None]]


class HeldUp:
    """Knows the accounts in question, and tries again for the commands that need them."""

    def __init__(
        self, store: LedgerStore, clock: Clock, post: Post, changed: Callable[[], None]
    ) -> None:
        """`post` posts commands and answers them; `changed` is told when accounts become free."""
        self._store = store
        self._clock = clock
        self._post = post
        self._changed = changed
        self._suspects_until_s: dict[AccountId, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.accounts: set[int] = set()
        """Those that commands wait for here; batches leave them alone."""

    @property
    def tasks(self) -> Collection[asyncio.Task[None]]:
        """What is still waiting."""
        return self._tasks

    async def among(self, items: Iterable[Waiting]) -> frozenset[AccountId]:
        """The accounts of `items` that are held now, as far as they were before.

        Raises UnreachableError.
        """
        if not self._suspects_until_s:
            return frozenset()
        now_s = self._clock.monotonic_s()
        self._suspects_until_s = {
            account: until_s
            for account, until_s in self._suspects_until_s.items()
            if until_s > now_s
        }
        needed = {account for item in items for account in item.accounts}
        suspects = needed & self._suspects_until_s.keys()
        return await self._look(suspects) if suspects else frozenset()

    def wait(self, items: list[Waiting], held: frozenset[AccountId]) -> None:
        """Answer `items`, which need accounts of `held`, once these are free, or refuse them."""
        until_s = self._clock.monotonic_s() + SUSPECTED_FOR_S
        self._suspects_until_s.update(dict.fromkeys(held, until_s))
        if len(self._tasks) >= MOST_WAITING:
            refuse(items, anew.contention())
            return
        mine = held - self.accounts
        self.accounts |= mine
        task = asyncio.create_task(self._wait(items, held), name="held-up")
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, mine))

    async def _wait(self, items: list[Waiting], held: frozenset[AccountId]) -> None:
        try:
            await self._try_again(items, held)
        except Exception:
            error_id = anew.error_id()
            log.exception("commands that waited failed", size=len(items), error_id=error_id)
            refuse([item for item in items if not item.answered], anew.internal(error_id))

    async def _try_again(self, items: list[Waiting], held: frozenset[AccountId]) -> None:
        for wait_s in LOOKS_S:
            await anew.pause(wait_s)
            try:
                held = await self._look(held)
            except UnreachableError:
                continue
            items, free = needing(items, held)
            if free:
                await self._post(free)
            if not items:
                return
        refuse(items, anew.contention())

    async def _look(self, accounts: Collection[AccountId]) -> frozenset[AccountId]:
        held = await self._store.find_held(accounts)
        for account in accounts:
            if account not in held:
                self._suspects_until_s.pop(account, None)
        return held

    def _ended(self, task: asyncio.Task[None], accounts: frozenset[AccountId]) -> None:
        self._tasks.discard(task)
        self.accounts -= accounts
        self._changed()

"""The posting engine: natural group commit over a bounded queue.

Commands wait in the queue; as soon as a batch may start, it takes what is there: a lone payment
pays no delay, and a flood pays one commit for hundreds. Batches in flight touch disjoint accounts.
A command that must wait reserves its accounts, so that later ones queue behind it and it cannot
starve. Clients take turns, so that a flood of one does not keep another waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from time import perf_counter

import structlog

from command_service import anew
from command_service.posting import metrics
from command_service.posting.fair_queue import FairQueue, Verdict
from command_service.posting.held_up import HeldUp
from command_service.posting.pacing import EngineLimits, Pacing
from command_service.posting.store import (
    ConflictError,
    HeldError,
    LedgerStore,
    OutcomeUnknownError,
    RejectedError,
    UnreachableError,
)
from command_service.posting.waiting import (
    Ended,
    Reported,
    Submission,
    Together,
    Waiting,
    needing,
    refuse,
    waiting,
    weight,
)
from paycore.domain.accounts import Account, AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.past import PastWanted, wanted_past
from paycore.domain.plan import BatchState, Plan
from paycore.domain.planning import ids_needed, plan_batch
from paycore.domain.rules import Rules
from paycore.domain.transfers import Command, Outcome, Refused
from paycore.runtime.clock import Clock
from paycore.runtime.snowflake import IdSource

Judge = Callable[[Waiting], Verdict]
Reserve = Callable[[Waiting], None]

log = structlog.get_logger()


@dataclass(slots=True)
class _Reservations:
    """Accounts that a new batch must leave alone."""

    busy: set[int] = field(default_factory=set)

    def hold(self, batch: Sequence[Waiting]) -> set[int]:
        accounts: set[int] = set()
        for item in batch:
            accounts.update(item.accounts)
        self.busy |= accounts
        return accounts


class PostingEngine:
    """Takes commands, posts them in batches, and answers each with its own outcome."""

    def __init__(
        self,
        store: LedgerStore,
        rules: Callable[[], Rules],
        ids: IdSource,
        clock: Clock,
        limits: EngineLimits | None = None,
        ended: Ended | None = None,
    ) -> None:
        """`ended` is told what becomes of every command that is handed in, taken or not."""
        self._store = store
        self._ended = ended
        self._rules = rules
        self._ids = ids
        self._clock = clock
        self._limits = limits or EngineLimits()
        self._queue: FairQueue[Waiting] = FairQueue(self._limits.queue, _weigh)
        self._reserved = _Reservations()
        self._batches: set[asyncio.Task[None]] = set()
        self._beside: set[asyncio.Task[None]] = set()
        self._pacing = Pacing(self._limits)
        self._held_up = HeldUp(store, clock, self._post, self._pump)
        self._pump_scheduled = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at_s = inf
        self._taken = asyncio.Event()
        self._small_until_s = -inf
        self._closing = False
        metrics.QUEUE_DEPTH.set_function(lambda: len(self._queue))

    async def submit(self, commands: Sequence[Command], deadline_s: float) -> list[Outcome]:
        """The outcome of each command, in order. All are of one client.

        A command that has not been taken into a batch by the monotonic time `deadline_s` is not
        posted. Raises PaycoreError OVERLOADED when the client's share of the queue is full and
        SHUTTING_DOWN when intake has stopped; then none of the commands was taken. Cancelling the
        caller cancels nothing.
        """
        submission = Together(len(commands), deadline_s)
        try:
            self.enqueue(commands, submission)
        except PaycoreError as error:
            metrics.count([Refused(error)] * len(commands))
            raise
        await submission.done
        return [outcome for outcome in submission.outcomes if outcome is not None]

    def enqueue(self, commands: Sequence[Command], submission: Submission) -> None:
        """Take `commands`, all of one client, and answer each to `submission`.

        Raises as `submit`.
        """
        client = commands[0].client
        try:
            self._check_room(client, commands)
        except PaycoreError as error:
            if self._ended is not None:
                for command in commands:
                    self._ended(command, Refused(error))
            raise
        if self._ended is not None:
            submission = Reported(submission, commands, self._ended)
        self._queue.add(client, waiting(commands, submission, self._clock.monotonic_s()))
        self._schedule_pump()

    def _check_room(self, client: str, commands: Sequence[Command]) -> None:
        if self._closing:
            raise _shutting_down()
        if sum(map(weight, commands)) > self._queue.room(client):
            metrics.OVERLOADED.inc()
            raise PaycoreError(
                Reason.OVERLOADED,
                f"the queue has no room for more of {client}",
                {"limit": str(self._limits.queue)},
                retry_after_ms=200,
            )

    async def room(self, client: str, deadline_s: float) -> int:
        """How many transfers `client` may enqueue at this moment, once there is room for some.

        A part of the queue stays free for calls, which do not wait. Raises PaycoreError
        DEADLINE_EXCEEDED when there was no room by the monotonic time `deadline_s`, and
        SHUTTING_DOWN.
        """
        spare = int(self._limits.queue * self._limits.spare)
        while not self._closing:
            # Whatever it adds takes as much from what it may have.
            room = (self._queue.room(client) - spare) // 2
            if room > 0:
                return room
            try:
                async with asyncio.timeout(max(0.0, deadline_s - self._clock.monotonic_s())):
                    await self._taken.wait()
            except TimeoutError:
                raise anew.deadline_passed() from None
        raise _shutting_down()

    async def stop(self) -> None:
        """Stop intake and wait until everything taken in has its outcome."""
        self._closing = True
        self._taken.set()
        self._pacing.hurry()
        while self._queue or self._under_way():
            self._pump()
            if under_way := self._under_way():
                await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)

    def _under_way(self) -> set[asyncio.Task[None]]:
        return {*self._batches, *self._beside, *self._held_up.tasks}

    def _schedule_pump(self) -> None:
        # Not at once: commands that arrive in the same turn of the loop belong in one batch.
        if not self._pump_scheduled:
            self._pump_scheduled = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        """Start batches while there is room and something that may run."""
        self._pump_scheduled = False
        while self._queue:
            now_s = self._clock.monotonic_s()
            start_at_s = self._pacing.start_at_s(len(self._batches), len(self._queue))
            if start_at_s > now_s:
                self._pump_at(start_at_s, now_s)
                self._start_beside()
                break
            batch = self._take(self._take_turns)
            if not batch:
                break
            self._pacing.started(now_s)
            self._start(batch, self._batches)

    def _pump_at(self, start_at_s: float, now_s: float) -> None:
        """Pump again when it is time; at infinity the end of a batch does it."""
        if start_at_s == self._alarm_at_s:
            return
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._alarm_at_s = start_at_s
        if start_at_s < inf:
            loop = asyncio.get_running_loop()
            self._alarm = loop.call_later(start_at_s - now_s, self._ring)

    def _ring(self) -> None:
        self._alarm, self._alarm_at_s = None, inf
        self._pump()

    def _start_beside(self) -> None:
        """Post for clients with little to post beside the full batches of others."""
        if len(self._beside) < self._limits.beside and len(self._queue) >= self._limits.overlap:
            batch = self._take(self._take_light)
            if batch:
                self._small_until_s = self._clock.monotonic_s() + self._limits.small_for_s
                self._start(batch, self._beside)

    def _start(self, batch: list[Waiting], among: set[asyncio.Task[None]]) -> None:
        metrics.started(batch, self._clock.monotonic_s())
        accounts = self._reserved.hold(batch)
        paced = among is self._batches
        task = asyncio.create_task(self._run(batch, accounts, paced=paced), name="posting-batch")
        among.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        self._beside.discard(task)
        self._pump()

    def _take_turns(self, judge: Judge, reserve: Reserve) -> list[Waiting]:
        limits, most = self._limits, self._limits.batch
        if self._small_until_s > self._clock.monotonic_s():
            most = min(most, limits.small)
        return self._queue.take(most, limits.scan, judge, reserve)

    def _take_light(self, judge: Judge, reserve: Reserve) -> list[Waiting]:
        return self._queue.take_light(self._limits.light, self._limits.overlap, judge, reserve)

    def _take(self, take: Callable[[Judge, Reserve], list[Waiting]]) -> list[Waiting]:
        """The next commands whose accounts neither a batch in flight nor an earlier one needs."""
        blocked = self._reserved.busy | self._held_up.accounts
        now_s = self._clock.monotonic_s()

        def judge(item: Waiting) -> Verdict:
            if item.submission.deadline_s <= now_s:
                refuse([item], anew.deadline_passed())
                return Verdict.DROP
            return Verdict.TAKE if blocked.isdisjoint(item.accounts) else Verdict.WAIT

        def reserve(item: Waiting) -> None:
            blocked.update(item.accounts)

        batch = take(judge, reserve)
        # Whoever waits for room looks again; nobody has it for later.
        self._taken.set()
        self._taken.clear()
        return batch

    async def _run(self, batch: list[Waiting], accounts: set[int], *, paced: bool) -> None:
        started = perf_counter()
        try:
            await self._post(batch)
        except Exception:
            error_id = anew.error_id()
            log.exception("batch failed", size=len(batch), error_id=error_id)
            unanswered = [item for item in batch if not item.answered]
            refuse(unanswered, anew.internal(error_id))
        finally:
            took_s = perf_counter() - started
            self._reserved.busy -= accounts
            if paced:
                self._pacing.finished(self._clock.monotonic_s(), took_s, len(batch))
            metrics.BATCH_SIZE.observe(len(batch))
            metrics.BATCH_SECONDS.observe(took_s)

    async def _post(self, batch: list[Waiting]) -> None:
        """Post `batch`, again after conflicts; answers every command in it."""
        failure, conflicts = anew.contention(), 0
        for wait_s in (*anew.BACKOFF_S, None):
            batch = self._drop_late(batch)
            if not batch:
                return
            try:
                outcomes = await self._attempt(batch)
            except HeldError as held:
                metrics.RETRIED[metrics.Retry.HELD].inc()
                log.warning("accounts are held by others", count=len(held.accounts))
                failure = anew.contention()
                stuck, batch = needing(batch, held.accounts)
                if stuck:
                    self._held_up.wait(stuck, held.accounts)
                    continue
            except ConflictError as conflict:
                metrics.RETRIED[metrics.Retry.CONFLICT].inc()
                log.info("batch decided anew", cause=str(conflict), size=len(batch))
                failure, conflicts = anew.contention(), conflicts + 1
            except UnreachableError as unreachable:
                metrics.RETRIED[metrics.Retry.UNREACHABLE].inc()
                log.warning("database unreachable", cause=str(unreachable), size=len(batch))
                failure = anew.database_unavailable()
            except OutcomeUnknownError as unknown:
                log.error("outcome unknown", xid=str(unknown), size=len(batch))
                failure = anew.database_unavailable()
                break
            except RejectedError as rejected:
                await self._split(batch, rejected)
                return
            except PaycoreError as error:
                failure = error
                break
            else:
                metrics.count(outcomes)
                for item, outcome in zip(batch, outcomes, strict=True):
                    item.answer(outcome)
                return
            if wait_s is not None:
                await anew.pause(wait_s)
        if conflicts > len(anew.BACKOFF_S) and len(batch) > 1:
            # Whoever meets a conflict each time under its locks, must not do so for all others.
            await self._halve(batch)
            return
        refuse(batch, failure)

    def _drop_late(self, batch: list[Waiting]) -> list[Waiting]:
        """Those whose callers still wait: what a caller has given up must not post afterwards."""
        now_s = self._clock.monotonic_s()
        late = [item for item in batch if item.submission.deadline_s <= now_s]
        if not late:
            return batch
        refuse(late, anew.deadline_passed())
        return [item for item in batch if item.submission.deadline_s > now_s]

    async def _attempt(self, batch: Sequence[Waiting]) -> list[Outcome]:
        held = await self._held_up.among(batch)
        if held:
            raise HeldError(held)
        commands = [item.command for item in batch]
        journal_id, *ids = await self._ids.take(1 + sum(map(ids_needed, commands)))

        rules = self._rules()

        def wants(fresh: Sequence[Command], accounts: Mapping[AccountId, Account]) -> PastWanted:
            # Those of now, and no others afterwards: what they do not ask for is not read.
            nonlocal rules
            rules = self._rules()
            return wanted_past(fresh, rules, accounts)

        def decide(state: BatchState) -> Plan:
            # Connecting and waiting for locks took time: whose caller gave up meanwhile posts not.
            now_s = self._clock.monotonic_s()
            late = [at for at, one in enumerate(batch) if one.submission.deadline_s <= now_s]
            now_us = self._clock.now_us()
            if not late:
                return plan_batch(state, commands, rules, now_us, ids)
            kept = [one for at, one in enumerate(commands) if at not in set(late)]
            plan = plan_batch(state, kept, rules, now_us, ids)
            for at in late:
                plan.outcomes.insert(at, Refused(anew.deadline_passed()))
            return plan

        return await self._store.post(commands, journal_id, decide, wants)

    async def _split(self, batch: list[Waiting], rejected: RejectedError) -> None:
        """The tables refused a row: post in halves until only the offender is left."""
        if len(batch) == 1:
            error_id = anew.error_id()
            log.error("the database refused a planned row", rule=str(rejected), error_id=error_id)
            metrics.REJECTED_ROWS.inc()
            refuse(batch, anew.internal(error_id))
            return
        await self._halve(batch)

    async def _halve(self, batch: list[Waiting]) -> None:
        middle = len(batch) // 2
        await self._post(batch[:middle])
        await self._post(batch[middle:])


def _shutting_down() -> PaycoreError:
    return PaycoreError(Reason.SHUTTING_DOWN, "this process is shutting down")


def _weigh(item: Waiting) -> int:
    return weight(item.command)

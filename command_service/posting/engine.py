"""The posting engine: natural group commit over a bounded queue.

Commands wait in the queue; as soon as a batch may start, it takes what is there: a lone payment
pays no delay, and a flood pays one commit for hundreds. Batches in flight touch disjoint accounts.
A command that must wait reserves its accounts, so that later ones queue behind it and it cannot
starve. Clients take turns, so that a flood of one does not keep another waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from math import inf
from time import perf_counter

import structlog

from command_service import anew
from command_service.posting import metrics
from command_service.posting.fair_queue import FairQueue, Verdict
from command_service.posting.pacing import EngineLimits, Pacing
from command_service.posting.store import (
    ConflictError,
    LedgerStore,
    OutcomeUnknownError,
    RejectedError,
    UnreachableError,
)
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.plan import BatchState, Plan
from paycore.domain.planning import ids_needed, plan_batch
from paycore.domain.rules import Rules
from paycore.domain.transfers import Command, GroupCommand, Outcome, Refused, accounts_of
from paycore.runtime.clock import Clock
from paycore.runtime.snowflake import IdSource

log = structlog.get_logger()


@dataclass(slots=True)
class _Submission:
    """Commands of one call, answered together."""

    outcomes: list[Outcome | None]
    missing: int
    done: asyncio.Future[None]
    deadline_s: float


@dataclass(slots=True)
class _Waiting:
    """One command in the queue, and where its outcome goes."""

    command: Command
    submission: _Submission
    index: int
    accounts: Collection[AccountId]
    """Those that the command may change or depends on."""


@dataclass(slots=True)
class _Reservations:
    """Accounts that a new batch must leave alone."""

    busy: set[int] = field(default_factory=set)

    def hold(self, batch: Sequence[_Waiting]) -> set[int]:
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
    ) -> None:
        self._store = store
        self._rules = rules
        self._ids = ids
        self._clock = clock
        self._limits = limits or EngineLimits()
        self._queue: FairQueue[_Waiting] = FairQueue(self._limits.queue, _weigh)
        self._reserved = _Reservations()
        self._batches: set[asyncio.Task[None]] = set()
        self._pacing = Pacing(self._limits)
        self._pump_scheduled = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at_s = inf
        self._closing = False
        metrics.QUEUE_DEPTH.set_function(lambda: len(self._queue))

    async def submit(self, commands: Sequence[Command], deadline_s: float) -> list[Outcome]:
        """The outcome of each command, in order. All are of one client.

        A command that has not been taken into a batch by the monotonic time `deadline_s` is not
        posted. Raises PaycoreError OVERLOADED when the client's share of the queue is full and
        SHUTTING_DOWN when intake has stopped; then none of the commands was taken. Cancelling the
        caller cancels nothing.
        """
        if self._closing:
            raise PaycoreError(Reason.SHUTTING_DOWN, "this process is shutting down")
        client = commands[0].client
        if not self._queue.has_room(client, sum(map(_weight, commands))):
            metrics.OVERLOADED.inc()
            raise PaycoreError(
                Reason.OVERLOADED,
                f"the queue has no room for more of {client}",
                {"limit": str(self._limits.queue)},
                retry_after_ms=200,
            )
        loop = asyncio.get_running_loop()
        submission = _Submission(
            [None] * len(commands), len(commands), loop.create_future(), deadline_s
        )
        self._queue.add(
            client,
            [
                _Waiting(command, submission, index, _accounts(command))
                for index, command in enumerate(commands)
            ],
        )
        self._schedule_pump()
        await submission.done
        return [outcome for outcome in submission.outcomes if outcome is not None]

    async def stop(self) -> None:
        """Stop intake and wait until everything taken in has its outcome."""
        self._closing = True
        self._pacing.hurry()
        while self._queue or self._batches:
            self._pump()
            if self._batches:
                await asyncio.wait(self._batches, return_when=asyncio.FIRST_COMPLETED)

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
                break
            batch = self._take()
            if not batch:
                break
            self._start(batch, now_s)

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

    def _start(self, batch: list[_Waiting], now_s: float) -> None:
        accounts = self._reserved.hold(batch)
        self._pacing.started(now_s)
        task = asyncio.create_task(self._run(batch, accounts), name="posting-batch")
        self._batches.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        self._pump()

    def _take(self) -> list[_Waiting]:
        """The next commands whose accounts neither a batch in flight nor an earlier one needs."""
        blocked = set(self._reserved.busy)
        now_s = self._clock.monotonic_s()

        def judge(item: _Waiting) -> Verdict:
            if item.submission.deadline_s <= now_s:
                _refuse([item], anew.deadline_passed())
                return Verdict.DROP
            return Verdict.TAKE if blocked.isdisjoint(item.accounts) else Verdict.WAIT

        def reserve(item: _Waiting) -> None:
            blocked.update(item.accounts)

        return self._queue.take(self._limits.batch, self._limits.scan, judge, reserve)

    async def _run(self, batch: list[_Waiting], accounts: set[int]) -> None:
        started = perf_counter()
        try:
            await self._post(batch)
        except Exception:
            error_id = anew.error_id()
            log.exception("batch failed", size=len(batch), error_id=error_id)
            unanswered = [item for item in batch if item.submission.outcomes[item.index] is None]
            _refuse(unanswered, anew.internal(error_id))
        finally:
            took_s = perf_counter() - started
            self._reserved.busy -= accounts
            self._pacing.finished(self._clock.monotonic_s(), took_s, len(batch))
            metrics.BATCH_SIZE.observe(len(batch))
            metrics.BATCH_SECONDS.observe(took_s)

    async def _post(self, batch: list[_Waiting]) -> None:
        """Post `batch`, again after conflicts; answers every command in it."""
        failure = anew.contention()
        for wait_s in (*anew.BACKOFF_S, None):
            batch = self._drop_late(batch)
            if not batch:
                return
            try:
                outcomes = await self._attempt(batch)
            except ConflictError as conflict:
                metrics.RETRIES.labels("conflict").inc()
                log.info("batch decided anew", cause=str(conflict), size=len(batch))
                failure = anew.contention()
            except UnreachableError as unreachable:
                metrics.RETRIES.labels("unreachable").inc()
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
                    _answer(item, outcome)
                return
            if wait_s is not None:
                await anew.pause(wait_s)
        _refuse(batch, failure)

    def _drop_late(self, batch: list[_Waiting]) -> list[_Waiting]:
        """Those whose callers still wait: what a caller has given up must not post afterwards."""
        now_s = self._clock.monotonic_s()
        late = [item for item in batch if item.submission.deadline_s <= now_s]
        if not late:
            return batch
        _refuse(late, anew.deadline_passed())
        return [item for item in batch if item.submission.deadline_s > now_s]

    async def _attempt(self, batch: Sequence[_Waiting]) -> list[Outcome]:
        commands = [item.command for item in batch]
        journal_id, *ids = await self._ids.take(1 + sum(map(ids_needed, commands)))

        def decide(state: BatchState) -> Plan:
            # Connecting and waiting for locks took time: whose caller gave up meanwhile posts not.
            now_s = self._clock.monotonic_s()
            late = [at for at, one in enumerate(batch) if one.submission.deadline_s <= now_s]
            rules, now_us = self._rules(), self._clock.now_us()
            if not late:
                return plan_batch(state, commands, rules, now_us, ids)
            kept = [one for at, one in enumerate(commands) if at not in set(late)]
            plan = plan_batch(state, kept, rules, now_us, ids)
            for at in late:
                plan.outcomes.insert(at, Refused(anew.deadline_passed()))
            return plan

        return await self._store.post(commands, journal_id, decide)

    async def _split(self, batch: list[_Waiting], rejected: RejectedError) -> None:
        """The tables refused a row: post in halves until only the offender is left."""
        if len(batch) == 1:
            error_id = anew.error_id()
            log.error("the database refused a planned row", rule=str(rejected), error_id=error_id)
            metrics.REJECTED_ROWS.inc()
            _refuse(batch, anew.internal(error_id))
            return
        middle = len(batch) // 2
        await self._post(batch[:middle])
        await self._post(batch[middle:])


def _weight(command: Command) -> int:
    """What it takes of the queue and of a batch: as many as it has transfers."""
    return len(command.items) if isinstance(command, GroupCommand) else 1


def _weigh(item: _Waiting) -> int:
    return _weight(item.command)


def _accounts(command: Command) -> Collection[AccountId]:
    # A pair for all but groups: a set for each costs as much as deciding.
    if isinstance(command, GroupCommand):
        return accounts_of(command)
    return command.debit_account, command.credit_account


def _answer(item: _Waiting, outcome: Outcome) -> None:
    submission = item.submission
    submission.outcomes[item.index] = outcome
    submission.missing -= 1
    if submission.missing == 0 and not submission.done.done():
        submission.done.set_result(None)


def _refuse(items: Sequence[_Waiting], error: PaycoreError) -> None:
    metrics.count([Refused(error)] * len(items))
    for item in items:
        _answer(item, Refused(error))

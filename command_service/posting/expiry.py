"""Frees holds whose time is up.

Each process runs it. The same hold may be freed by several at once, and is freed once: the command
has a key made of the hold's id, and like any other is decided under the lock of the account. A
hold's deadline is a promise to its payee: it is up when the process's clock and the database's are
both past it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

import structlog

from command_service.posting.engine import PostingEngine
from command_service.posting.store import LedgerStore, UnreachableError
from paycore.domain.errors import PaycoreError
from paycore.domain.plan import ParentState
from paycore.domain.transfers import (
    ChildCommand,
    Outcome,
    Posted,
    Refused,
    TransferId,
    TransferKind,
    TransferState,
)
from paycore.runtime.clock import Clock
from paycore.runtime.metric_definitions import counter

CLIENT = "paycore/expiry"
"""In whose name holds are freed. No caller has it: access is granted to names without a slash."""

EVERY_S = 1.0
"""How often the job looks, in seconds, and up to half as much longer."""

AT_ONCE = 500
"""Holds that one look frees at most."""

CANDIDATES = 2_000
"""Holds among which a look chooses by chance, so that processes seldom choose the same."""

WITHIN_S = 10.0
"""How long the releases of one look may wait in the queue, in seconds."""

EXPIRED = counter(
    "paycore_holds_expired_total",
    "Holds that this process freed.",
    unit="holds",
)
FAILED = counter(
    "paycore_holds_expiry_failures_total",
    "Looks for expired holds that failed.",
    unit="looks",
)

log = structlog.get_logger()


class ExpiryJob:
    """Looks for expired holds again and again until it is cancelled."""

    def __init__(
        self,
        engine: PostingEngine,
        store: LedgerStore,
        clock: Clock,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._engine = engine
        self._store = store
        self._clock = clock
        self._chance = chance

    async def run(self) -> None:
        """Free what has expired, look by look; a failure waits for the next look."""
        while True:
            freed = 0
            try:
                freed = await self.free()
            except (PaycoreError, UnreachableError) as error:
                FAILED.inc()
                log.warning("expired holds were not freed", error=type(error).__name__)
            except Exception:
                FAILED.inc()
                log.exception("expired holds were not freed")
            if freed < AT_ONCE:
                await asyncio.sleep(EVERY_S * (1 + self._chance() / 2))

    async def free(self) -> int:
        """Free holds whose time is up, AT_ONCE at most; returns how many this process freed.

        Raises UnreachableError, and PaycoreError as the engine's `submit`.
        """
        found = await self._store.find_expired_holds(self._clock.now_us(), CANDIDATES)
        if not found:
            return 0
        chosen = sorted(found, key=lambda _: self._chance())[:AT_ONCE]
        parents = await self._store.find_parents(chosen)
        outcomes = await self._engine.submit(
            [_release(parent) for parent in parents.values()],
            self._clock.monotonic_s() + WITHIN_S,
        )
        return _count(outcomes)


def _release(parent: ParentState) -> ChildCommand:
    hold = parent.transfer
    return ChildCommand(
        client=CLIENT,
        key=_key(hold.id),
        # The key says all that there is to the command.
        request_hash=b"expire",
        kind=TransferKind.RELEASE,
        parent=hold.id,
        debit_account=hold.debit_account,
        credit_account=hold.credit_account,
        currency=hold.currency,
        released_as=TransferState.EXPIRED,
    )


def _key(hold: TransferId) -> str:
    return f"expire/{hold}"


def _count(outcomes: Sequence[Outcome]) -> int:
    freed = sum(isinstance(one, Posted) and not one.replayed for one in outcomes)
    EXPIRED.inc(freed)
    for outcome in outcomes:
        if isinstance(outcome, Refused):
            # Captured or freed by someone else meanwhile, or too busy: the next look sees.
            log.info("expired hold not freed", reason=outcome.error.reason.value)
    return freed

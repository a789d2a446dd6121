"""History from the index while it answers, else from the ledger.

The index gets a part of a call's time; when it is away, slow or behind, or has dropped what the
answer needs, the ledger gets the rest. Where the ledger is away too, an index that was current a
while ago answers after all, and says how far behind it is: what stops the ledger stops the index's
clock, and mostly whoever writes. A call that waits for a position asks both in turn for as
long as it has time, unless neither answers. After some failures in a row a breaker keeps calls from
the index, so that none waits for what is down, and a probe tells when it is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.transfers import TransferId
from paycore.runtime.breaker import Breaker
from paycore.runtime.clock import Clock
from paycore.runtime.metric_definitions import counter
from query_service.positions import QUERY_MARGIN_S, QUERY_MARGIN_SHARE, IndexStaleError
from query_service.readers.port import (
    Answer,
    HistoryDroppedError,
    HistoryReader,
    PageKey,
    ReadTerms,
    StatementFilter,
    StatementPlace,
    Total,
    TransferFilter,
)
from query_service.readers.records import (
    AccountRecord,
    PastBalance,
    StatementPage,
    TransferRecord,
)

INDEX_SHARE = 0.5
INDEX_MOST_S = 1.0
"""What the index gets of a call's time: the smaller of the two."""

LEDGER_SHARE = 0.5
"""What the ledger gets of what is left while the index is behind, so that one which hangs does not
keep the call from the index."""

PATIENCE_S = 0.15
"""How long a call waits for the index to catch up before it asks the ledger, in seconds; the index
is that far behind at most while all is well. While the ledger, as a replica may, lacks the position
too, they are asked in turn."""

LAST_RESORT_S = 60.0
"""How far behind the index may be and answer while the ledger is away, in seconds: about as long as
grants are trusted."""

PAUSES_S = (0.02, 0.05, 0.1, 0.2)
"""Before both are asked again, in seconds; the last one for ever."""

TRIPS_AFTER = 5
"""So many calls in a row that the index does not answer open the breaker."""

RETRY_AFTER_MS = 500

PROBE_EVERY_S = 0.5
PROBE_WITHIN_S = 1.0

AWAY = "AWAY"
DROPPED = "DROPPED"
LAST_RESORT = "LAST_RESORT"

_AWAY_REASONS = frozenset({Reason.INDEX_UNAVAILABLE})
_ELSEWHERE = _AWAY_REASONS | {Reason.INDEX_BEHIND, Reason.OVERLOADED, Reason.DEADLINE_EXCEEDED}
"""Refusals of the index that the ledger need not share."""

FALLBACKS = counter(
    "paycore_query_fallbacks_total",
    "Questions put to the ledger: the index is AWAY (breaker open), has DROPPED what is asked for,"
    " or why it refused. LAST_RESORT counts those that went back to it, as the ledger is away too.",
    unit="questions",
    labels={"why": (AWAY, DROPPED, LAST_RESORT, *sorted(_ELSEWHERE))},
)

_LEDGER_FAILURES = frozenset({Reason.DATABASE_UNAVAILABLE, Reason.INDEX_BEHIND})

T = TypeVar("T")
Ask = Callable[[HistoryReader, ReadTerms], Awaitable[Answer[T]]]


class FallbackReader:
    """Implements HistoryReader by two others."""

    def __init__(
        self, index: HistoryReader, ledger: HistoryReader, breaker: Breaker, clock: Clock
    ) -> None:
        self._index = index
        self._ledger = ledger
        self._breaker = breaker
        self._clock = clock

    async def account(self, account: AccountId, terms: ReadTerms) -> Answer[AccountRecord | None]:
        """See the port."""
        return await self._ask(lambda reader, terms: reader.account(account, terms), terms)

    async def transfer(
        self, transfer: TransferId, terms: ReadTerms
    ) -> Answer[TransferRecord | None]:
        """See the port."""
        return await self._ask(lambda reader, terms: reader.transfer(transfer, terms), terms)

    async def transfers(
        self, wanted: TransferFilter, after: PageKey | None, limit: int, terms: ReadTerms
    ) -> Answer[list[TransferRecord]]:
        """See the port."""
        return await self._ask(
            lambda reader, terms: reader.transfers(wanted, after, limit, terms), terms
        )

    async def total(self, wanted: TransferFilter, terms: ReadTerms) -> Answer[Total]:
        """See the port."""
        return await self._ask(lambda reader, terms: reader.total(wanted, terms), terms)

    async def balance_at(
        self, account: AccountId, at_us: int, terms: ReadTerms
    ) -> Answer[PastBalance]:
        """See the port."""
        return await self._ask(
            lambda reader, terms: reader.balance_at(account, at_us, terms), terms
        )

    async def statement(
        self, wanted: StatementFilter, after: StatementPlace | None, limit: int, terms: ReadTerms
    ) -> Answer[StatementPage]:
        """See the port."""
        return await self._ask(
            lambda reader, terms: reader.statement(wanted, after, limit, terms), terms
        )

    async def _ask(self, ask: Ask[T], terms: ReadTerms) -> Answer[T]:
        pauses_s = iter(PAUSES_S)
        # What a refusal needs to reach the caller while the machine is busy.
        whole_s = terms.deadline_s - self._clock.monotonic_s()
        until_s = terms.deadline_s - max(2 * QUERY_MARGIN_S, whole_s * QUERY_MARGIN_SHARE)
        while True:
            try:
                return await self._ask_index(ask, terms)
            except PaycoreError as error:
                if error.reason not in _ELSEWHERE:
                    raise
                refusal = error
            try:
                return await ask(self._ledger, self._rest(terms, refusal))
            except PaycoreError as error:
                if error.reason not in _LEDGER_FAILURES:
                    raise
                if _may_still_answer(refusal) and error.reason is Reason.DATABASE_UNAVAILABLE:
                    FALLBACKS.labels(LAST_RESORT).inc()
                    return await self._ask_index(ask, replace(terms, tolerance_s=LAST_RESORT_S))
                neither = {refusal.reason, error.reason}.isdisjoint({Reason.INDEX_BEHIND})
                late = self._clock.monotonic_s() >= until_s
                if terms.min_position is None or neither or late:
                    # Both have failed: the caller is told of the first.
                    raise refusal from error
            await asyncio.sleep(next(pauses_s, PAUSES_S[-1]))

    async def _ask_index(self, ask: Ask[T], terms: ReadTerms) -> Answer[T]:
        permit = self._breaker.permit()
        if permit is None:
            FALLBACKS.labels(AWAY).inc()
            raise PaycoreError(
                Reason.INDEX_UNAVAILABLE, "the index is away", retry_after_ms=RETRY_AFTER_MS
            )
        try:
            answer = await ask(self._index, self._share(terms))
        except HistoryDroppedError:
            self._breaker.succeeded(permit)
            FALLBACKS.labels(DROPPED).inc()
            raise
        except PaycoreError as error:
            if error.reason in _AWAY_REASONS:
                self._breaker.failed(permit)
            else:
                self._breaker.unknown(permit)
            if error.reason in _ELSEWHERE:
                FALLBACKS.labels(error.reason.value).inc()
            raise
        except BaseException:
            self._breaker.unknown(permit)
            raise
        self._breaker.succeeded(permit)
        return answer

    def _share(self, terms: ReadTerms) -> ReadTerms:
        now_s = self._clock.monotonic_s()
        share_s = min(INDEX_MOST_S, (terms.deadline_s - now_s) * INDEX_SHARE)
        # Waiting for a position is bounded by patience, which leaves the index its time to answer.
        deadline_s = now_s + share_s + (PATIENCE_S if terms.min_position is not None else 0.0)
        return replace(terms, deadline_s=min(terms.deadline_s, deadline_s), patience_s=PATIENCE_S)

    def _rest(self, terms: ReadTerms, refusal: PaycoreError) -> ReadTerms:
        """What the ledger gets: all that is left, unless the index may get there first."""
        if _may_still_answer(refusal):
            return self._part(terms)
        if terms.min_position is None or isinstance(refusal, HistoryDroppedError):
            return terms
        if refusal.reason is not Reason.INDEX_BEHIND:
            return replace(terms, patience_s=PATIENCE_S)
        # Where both may get there, neither is waited for long.
        return replace(self._part(terms), patience_s=0.0)

    def _part(self, terms: ReadTerms) -> ReadTerms:
        """The ledger's part of what is left, where the index may be asked again."""
        now_s = self._clock.monotonic_s()
        deadline_s = now_s + (terms.deadline_s - now_s) * LEDGER_SHARE
        return replace(terms, deadline_s=deadline_s)


def _may_still_answer(refusal: PaycoreError) -> bool:
    """Whether the index, which is behind, is current enough for a time without the ledger."""
    return (
        isinstance(refusal, IndexStaleError)
        and refusal.lag_us is not None
        and refusal.lag_us <= LAST_RESORT_S * 1e6
    )

"""Judges by rules of one's own: how much a payer may pay in a day, and payees paid for the first
time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import asyncpg

import database
from command_service.admission.risk.in_flight import InFlight
from command_service.admission.risk.port import NoAnswerError, Question
from command_service.posting.store import UnreachableError
from command_service.transactions import reading
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.money import MAX_MINOR
from paycore.domain.plan import Key
from paycore.domain.transfers import RiskDecision, RiskVerdict
from paycore.runtime.clock import Clock

DAILY_LIMIT = "daily-limit"
NEW_PAYEE = "new-payee"

PAGE = 200
"""Debits that are read at a time."""

SETTLE_FROM = 100
"""With so many of a payer's payments in flight it is looked which are stored already; with fewer
only when the limit hangs on them."""

MOST_IN_A_DAY = 10_000
"""Debits of one payer in a day beyond which they are not added up: there is no verdict."""

KNOWN_DEPTH = 1_000
"""How many of a payer's debits back a payee is looked for."""

_DAY_US = 86_400_000_000
_APPROVED = RiskVerdict(RiskDecision.APPROVE)


@dataclass(frozen=True, slots=True)
class CurrencyRules:
    """The rules for payments in one currency; amounts in minor units, None for no such rule."""

    daily_limit: int | None
    daily_decision: RiskDecision
    new_payee_above: int | None
    new_payee_decision: RiskDecision


class RulesAssessor:
    """RiskAssessor by the tables. The stricter of two rules speaks, the daily limit before others.

    The daily limit counts what left an account in a day of UTC, or was held to leave it: TRANSFER,
    WITHDRAWAL and HOLD, less what was released of holds of the same day. What comes back by refund
    or reversal is not taken off. A currency without rules is not judged.

    Within one process a payer's payments are judged one after the other, and those that were let
    through but are not posted yet count as if they were. Only where the limit hangs on them is
    there no verdict: CONTENTION, so that the caller asks again when they have ended. Two processes
    do not see what the other has let through and not yet posted: together they may let a payer
    pass the limit by what is under way at that moment. New payees have no such gap worth closing:
    a first payment that is under way leaves the payee new.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        rules: Callable[[], Mapping[str, CurrencyRules]],
        clock: Clock,
    ) -> None:
        """`rules` gives those of now by currency, or raises PaycoreError where they are too old."""
        self._pool = pool
        self._rules = rules
        self._clock = clock
        self._queries: Any = database.load("risk")
        self.in_flight = InFlight()
        """What was let through and is not known to be stored."""
        self._turns: WeakValueDictionary[AccountId, asyncio.Lock] = WeakValueDictionary()

    async def assess(self, question: Question, deadline_s: float) -> RiskVerdict:
        try:
            rules = self._rules().get(question.command.currency)
        except PaycoreError as error:
            raise NoAnswerError("RULES_TOO_OLD") from error
        if rules is None:
            return _APPROVED
        payer = question.command.debit_account
        turn = self._turns.setdefault(payer, asyncio.Lock())
        try:
            async with turn:
                return await self._judge(question, rules)
        except UnreachableError as error:
            raise NoAnswerError("UNREACHABLE") from error

    async def _judge(self, question: Question, rules: CurrencyRules) -> RiskVerdict:
        verdict = _APPROVED
        if rules.daily_limit is not None:
            verdict = await self._by_day(question, rules.daily_limit, rules.daily_decision)
        if (
            verdict.decision is not RiskDecision.DECLINE
            and rules.new_payee_above is not None
            and question.command.amount > rules.new_payee_above
            and (verdict is _APPROVED or rules.new_payee_decision is RiskDecision.DECLINE)
            and await self._is_new(question)
        ):
            verdict = RiskVerdict(rules.new_payee_decision, NEW_PAYEE)
        if rules.daily_limit is not None and verdict.decision is not RiskDecision.DECLINE:
            self.in_flight.add(question, self._clock.monotonic_s())
        return verdict

    async def _by_day(self, question: Question, limit: int, decision: RiskDecision) -> RiskVerdict:
        command = question.command
        payer, key = command.debit_account, (command.client, command.key)
        in_flight = self.in_flight
        for hangs_on_others in (False, True):
            if hangs_on_others or len(in_flight.keys(payer)) >= SETTLE_FROM:
                await self._settle(payer, key)
            own, others = in_flight.sums(question)
            # Read after it was settled: what was forgotten there is in the sum here.
            certain = await self._paid_today(payer) + own + command.amount
            if certain > limit:
                return RiskVerdict(decision, DAILY_LIMIT)
            if certain + others <= limit:
                return _APPROVED
        raise PaycoreError(
            Reason.CONTENTION,
            "payments of the same payer that are under way decide on this one",
            retry_after_ms=50,
        )

    async def _settle(self, payer: AccountId, key: Key) -> None:
        """Forget those of the payer's payments that have outcomes by now."""
        waiting = self.in_flight.keys(payer) - {key}
        async with reading(self._pool) as connection:
            stored = await self._queries.stored_keys(
                connection,
                clients=[client for client, _ in waiting],
                keys=[name for _, name in waiting],
            )
        found = {(row["client"], row["key"]) for row in stored}
        self.in_flight.settle(payer, found, self._clock.monotonic_s())

    async def _paid_today(self, payer: AccountId) -> int:
        """Minor units; a page at a time, newest first, down to the last debit of yesterday."""
        now_us = self._clock.now_us()
        day_us = now_us - now_us % _DAY_US
        total, entries, before = 0, 0, int(MAX_MINOR)
        async with reading(self._pool) as connection:
            while entries < MOST_IN_A_DAY:
                page = await self._queries.debits_of_day(
                    connection, payer=payer, before=before, size=PAGE, day_us=day_us
                )
                total += int(page["total"])
                entries += page["entries"]
                if page["entries"] < PAGE:
                    return total
                before = page["lowest"]
        raise NoAnswerError("TOO_MANY_DEBITS")

    async def _is_new(self, question: Question) -> bool:
        command = question.command
        async with reading(self._pool) as connection:
            known = await self._queries.has_paid(
                connection,
                payer=command.debit_account,
                payee=command.credit_account,
                depth=KNOWN_DEPTH,
            )
        return not known

"""Judges by rules of one's own: how much a payer may pay in a day, and payees paid for the first
time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from weakref import WeakValueDictionary

from command_service.admission.risk.decisions import (
    CurrencyRules,
    Figures,
    decide,
    hangs_on_others,
    passes,
)
from command_service.admission.risk.figures import LedgerFigures
from command_service.admission.risk.in_flight import InFlight
from command_service.admission.risk.port import Answer, Ending, NoAnswerError, Question
from command_service.posting.store import UnreachableError
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError
from paycore.domain.plan import Key
from paycore.domain.transfers import RiskVerdict
from paycore.runtime.clock import Clock

MOST_SETTLED = 1_000
"""Payments in doubt that are looked for at a time."""


class RulesAssessor:
    """GroupAssessor by the tables. The stricter of two rules speaks, the daily limit before others.

    The daily limit counts what left an account in a day of UTC, or was held to leave it: TRANSFER,
    WITHDRAWAL and HOLD, less what was released of holds of the same day. What comes back by refund
    or reversal is not taken off. A currency without rules is not judged.

    Within one process a payer's payments are judged one after the other, and those that were let
    through count as if they were posted until their outcomes are told. Only where the limit hangs
    on them is there no verdict: CONTENTION, so that the caller asks again when they have ended. Two
    processes do not see what the other has let through and not yet posted: together they may let a
    payer pass the limit by what is under way at that moment. New payees have no such gap worth
    closing: a first payment that is under way leaves the payee new.
    """

    def __init__(
        self,
        figures: LedgerFigures,
        rules: Callable[[], Mapping[str, CurrencyRules]],
        clock: Clock,
        in_flight: InFlight | None = None,
    ) -> None:
        """`rules` gives those of now by currency, or raises PaycoreError where they are too old."""
        self._figures = figures
        self._rules = rules
        self._clock = clock
        self.in_flight = InFlight() if in_flight is None else in_flight
        """What was let through and has no outcome that is known."""
        self._turns: WeakValueDictionary[AccountId, asyncio.Lock] = WeakValueDictionary()

    async def assess(self, question: Question, deadline_s: float) -> RiskVerdict:
        (answer,) = await self.assess_group([question], deadline_s)
        if isinstance(answer, RiskVerdict):
            return answer
        raise answer

    async def assess_group(
        self, questions: Sequence[Question], deadline_s: float
    ) -> Sequence[Answer]:
        try:
            rules = self._rules()
        except PaycoreError as error:
            raise NoAnswerError("RULES_TOO_OLD") from error
        payers = {one.command.debit_account for one in questions if one.command.currency in rules}
        try:
            async with AsyncExitStack() as turns:
                # In one order for all, so that no two wait for each other.
                for payer in sorted(payers):
                    turn = self._turns.setdefault(payer, asyncio.Lock())
                    await turns.enter_async_context(turn)
                return await self._judge(questions, rules)
        except UnreachableError as error:
            raise NoAnswerError("UNREACHABLE") from error

    def ended(self, tickets: Collection[int], ending: Ending) -> None:
        self.in_flight.end(tickets, ending, self._clock.monotonic_s())

    async def _judge(
        self, questions: Sequence[Question], rules: Mapping[str, CurrencyRules]
    ) -> Sequence[Answer]:
        """The answers, once the turn of every payer has come."""
        commands = [one.command for one in questions]
        key = commands[0].client, commands[0].key
        judged = [(one, rules[one.currency]) for one in commands if one.currency in rules]
        limited = {one.debit_account for one, by in judged if by.daily_limit is not None}
        known = await self._figures.paid_before(
            [
                (one.debit_account, one.credit_account)
                for one, by in judged
                if by.asks_for_payee(one.amount)
            ]
        )

        async def look() -> list[Answer]:
            self.in_flight.forget_old(self._clock.monotonic_s())
            others = {payer: self.in_flight.of_others(payer, key) for payer in limited}
            # Read after it: what is forgotten from now on is in the sum here.
            spent = await self._figures.spent_today(limited)
            return decide(commands, rules, Figures(spent, others, known))

        answers = await look()
        if any(map(hangs_on_others, answers)):
            await self._settle(limited, key)
            answers = await look()
        return self._let_through(questions, answers, limited)

    async def _settle(self, payers: Collection[AccountId], key: Key) -> None:
        """Forget those of the payers' payments in doubt that turn out to be stored."""
        doubts: list[tuple[AccountId, Key]] = []
        for payer in payers:
            keys = self.in_flight.in_doubt(payer, MOST_SETTLED - len(doubts))
            doubts += [(payer, one) for one in keys if one != key]
        if doubts:
            stored = await self._figures.stored({one for _, one in doubts})
            for payer, one in doubts:
                if one in stored:
                    self.in_flight.settle(payer, one)

    def _let_through(
        self, questions: Sequence[Question], answers: Sequence[Answer], limited: set[AccountId]
    ) -> Sequence[Answer]:
        """`answers`, with a ticket where the payment counts from now on.

        Raises PaycoreError OVERLOADED.
        """
        amounts: dict[AccountId, int] = {}
        for question, answer in zip(questions, answers, strict=True):
            payer = question.command.debit_account
            if payer in limited and passes(answer):
                amounts[payer] = amounts.get(payer, 0) + question.command.amount
        if not amounts:
            return answers
        first = questions[0]
        tickets = self.in_flight.add(
            (first.command.client, first.command.key),
            amounts,
            first.posts_until_s,
            self._clock.monotonic_s(),
        )
        return [
            answer._replace(ticket=tickets.get(question.command.debit_account))
            if isinstance(answer, RiskVerdict) and passes(answer)
            else answer
            for question, answer in zip(questions, answers, strict=True)
        ]

"""The rules of one's own, decided from figures: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from command_service.admission.risk.port import Answer, NoAnswerError
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.transfers import RiskDecision, RiskVerdict, TransferCommand

DAILY_LIMIT = "daily-limit"
NEW_PAYEE = "new-payee"

RETRY_AFTER_MS = 50
"""Wait suggested to callers on whom payments under way decide, in milliseconds."""

APPROVED = RiskVerdict(RiskDecision.APPROVE)


@dataclass(frozen=True, slots=True)
class CurrencyRules:
    """The rules for payments in one currency; amounts in minor units, None for no such rule."""

    daily_limit: int | None
    daily_decision: RiskDecision
    new_payee_above: int | None
    new_payee_decision: RiskDecision

    def asks_for_payee(self, amount: int) -> bool:
        """Whether it matters to a payment of `amount` that its payee is known."""
        return self.new_payee_above is not None and amount > self.new_payee_above


@dataclass(frozen=True, slots=True)
class Figures:
    """What payments under one key are judged by; amounts in minor units."""

    spent: Mapping[AccountId, int | None]
    """By payer: what left the account today; None where nobody can tell."""
    others: Mapping[AccountId, int]
    """By payer: what is under way under other keys."""
    known: Set[tuple[AccountId, AccountId]]
    """Payers and payees to whom they have paid."""


def decide(
    commands: Sequence[TransferCommand], rules: Mapping[str, CurrencyRules], figures: Figures
) -> list[Answer]:
    """An answer to each of `commands`, which share a key: those let through count for later ones.

    The stricter of two rules speaks, the daily limit before others. CONTENTION where a limit hangs
    on what is under way under other keys.
    """
    own: dict[AccountId, int] = {}
    answers: list[Answer] = []
    for command in commands:
        answer = _decide(command, rules.get(command.currency), own, figures)
        answers.append(answer)
        if passes(answer):
            payer = command.debit_account
            own[payer] = own.get(payer, 0) + command.amount
    return answers


def passes(answer: Answer) -> bool:
    """Whether a payment with this answer may leave the account, now or after a review."""
    return isinstance(answer, RiskVerdict) and answer.decision is not RiskDecision.DECLINE


def hangs_on_others(answer: Answer) -> bool:
    """Whether the answer may be another once payments under way have ended."""
    return isinstance(answer, PaycoreError) and answer.reason is Reason.CONTENTION


def _decide(
    command: TransferCommand,
    rules: CurrencyRules | None,
    own: Mapping[AccountId, int],
    figures: Figures,
) -> Answer:
    if rules is None:
        return APPROVED
    by_day = _by_day(command, rules, own, figures)
    if not isinstance(by_day, RiskVerdict) or by_day.decision is RiskDecision.DECLINE:
        return by_day
    pair = command.debit_account, command.credit_account
    if rules.asks_for_payee(command.amount) and pair not in figures.known:
        by_payee = RiskVerdict(rules.new_payee_decision, NEW_PAYEE)
        if by_day == APPROVED or by_payee.decision is RiskDecision.DECLINE:
            return by_payee
    return by_day


def _by_day(
    command: TransferCommand,
    rules: CurrencyRules,
    own: Mapping[AccountId, int],
    figures: Figures,
) -> Answer:
    if rules.daily_limit is None:
        return APPROVED
    payer = command.debit_account
    spent = figures.spent[payer]
    if spent is None:
        return NoAnswerError("TOO_MANY_DEBITS")
    certain = spent + own.get(payer, 0) + command.amount
    if certain > rules.daily_limit:
        return RiskVerdict(rules.daily_decision, DAILY_LIMIT)
    if certain + figures.others[payer] > rules.daily_limit:
        return PaycoreError(
            Reason.CONTENTION,
            "payments of the same payer that are under way decide on this one",
            retry_after_ms=RETRY_AFTER_MS,
        )
    return APPROVED

"""The refusals by a rule of the ledger that are stored under the key, in their order."""

from __future__ import annotations

from collections.abc import Mapping

from paycore.domain.accounts import Account, AccountKind, AccountStatus
from paycore.domain.draft import Working
from paycore.domain.errors import Reason
from paycore.domain.transfers import RiskDecision, RiskVerdict

Refusal = tuple[Reason, Mapping[str, str]]
"""A reason and the figures that explain it."""


def by_status(payer: Account, payee: Account) -> Refusal | None:
    """A closed account takes part in nothing; a frozen one is not debited."""
    for account in (payer, payee):
        if account.status is AccountStatus.CLOSED:
            return Reason.ACCOUNT_CLOSED, {"account": str(account.id), "state": account.status}
    if payer.status is AccountStatus.FROZEN:
        return Reason.ACCOUNT_FROZEN, {"account": str(payer.id), "state": payer.status}
    return None


def by_risk(verdict: RiskVerdict | None) -> Refusal | None:
    """What the check before the posting declined."""
    if verdict is None or verdict.decision is not RiskDecision.DECLINE:
        return None
    return Reason.RISK_DECLINED, {"rule": verdict.rule}


def by_funds(debit: Working, amount: int, currency: str) -> Refusal | None:
    """A customer's account may not go below its floor."""
    payer = debit.account
    if payer.kind is not AccountKind.CUSTOMER or amount <= debit.available:
        return None
    return Reason.INSUFFICIENT_FUNDS, {
        "account": str(payer.id),
        "currency": currency,
        "available": str(debit.available),
        "requested": str(amount),
    }

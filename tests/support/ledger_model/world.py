"""The accounts and the grants of a program, as the model knows them."""

from __future__ import annotations

from dataclasses import replace

from tests.support.ledger_model.books import Books, ModelAccount, ModelGrant

OWN_ACTIONS = (
    "TRANSFER",
    "DEPOSIT",
    "WITHDRAWAL",
    "HOLD",
    "CAPTURE",
    "RELEASE",
    "REFUND",
    "REVERSAL",
    "FEE",
    "SET_OVERDRAFT",
    "READ",
)

OPERATOR_ACTIONS = (
    "READ",
    "SET_STATUS",
    "SET_OVERDRAFT",
    "REVERSAL",
    "DEPOSIT",
    "WITHDRAWAL",
    "REVIEW",
)

GRANTS = frozenset(
    {
        *(ModelGrant(client, one, "OWN") for client in ("app", "loadtest") for one in OWN_ACTIONS),
        ModelGrant("loadtest", "STEP_UP_EXEMPT", "OWN"),
        *(ModelGrant("operator", one, "ALL") for one in OPERATOR_ACTIONS),
    }
)
"""What the callers of the local stack may do."""

CLEARING = ModelGrant("clearing", "NET_SETTLEMENT", "ALL")
"""A client that settles between institutions; the local stack has none."""

LOCAL_THRESHOLDS = {"EUR": 100_000, "USD": 100_000, "JPY": 100_000, "BHD": 500_000}
"""From above which amount their payers must approve."""

CLIENTS = ("app", "app", "app", "loadtest", "loadtest", "operator")
"""Who asks, the more often the more often named."""

ACCOUNTS = {
    1: ModelAccount(opened_by="app", outside=True),
    2: ModelAccount(opened_by="app"),
    3: ModelAccount(opened_by="app", overdraft=25),
    4: ModelAccount(opened_by="app", institution="north"),
    5: ModelAccount(opened_by="loadtest"),
    6: ModelAccount(opened_by="loadtest", overdraft=100),
    7: ModelAccount(opened_by="loadtest", outside=True),
    8: ModelAccount(opened_by="app", currency="USD"),
}


def books(thresholds: dict[str, int], *more: ModelGrant) -> Books:
    """Empty books with those accounts."""
    accounts = {number: replace(account) for number, account in ACCOUNTS.items()}
    return Books(accounts, GRANTS | set(more), thresholds)

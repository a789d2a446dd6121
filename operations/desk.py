"""What waits for an operator: payments held for review, reversals that found too little money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

import database
from operations.deployment import Deployment
from operations.errors import UnavailableError, UsageError
from paycore.client import Money

CONNECT_TIMEOUT_S = 5.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class WaitingReview:
    """A payment that is held until someone approves or refuses it."""

    transfer: int
    rule: str
    debit_account: int
    credit_account: int
    amount: Money
    client: str
    reference: str
    since: datetime


@dataclass(frozen=True, slots=True)
class ShortReversal:
    """A transfer whose reversal was declined, since the account that must pay had too little."""

    transfer: int
    decline: int
    """The latest refusal."""
    debit_account: int
    """Who must give the money back."""
    credit_account: int
    amount: Money
    available: int
    """What that account has now, in minor units."""
    client: str
    since: datetime


async def waiting_reviews(deployment: Deployment, most: int) -> list[WaitingReview]:
    """The oldest `most`, first the oldest. Raises UsageError, UnavailableError."""
    return [
        WaitingReview(
            transfer=row["id"],
            rule=row["review"],
            debit_account=row["debit_account"],
            credit_account=row["credit_account"],
            amount=Money(row["amount"], row["currency"]),
            client=row["client"],
            reference=row["reference"] or "",
            since=_time(row["created_at_us"]),
        )
        for row in await _read(deployment, "waiting_reviews", most)
    ]


async def short_reversals(deployment: Deployment, most: int) -> list[ShortReversal]:
    """Of the oldest `most` transfers, first the oldest. Raises UsageError, UnavailableError."""
    return [
        ShortReversal(
            transfer=row["parent_id"],
            decline=row["id"],
            debit_account=row["debit_account"],
            credit_account=row["credit_account"],
            amount=Money(row["amount"], row["currency"]),
            available=row["available"],
            client=row["client"],
            since=_time(row["created_at_us"]),
        )
        for row in await _read(deployment, "short_reversals", most)
    ]


async def _read(deployment: Deployment, query: str, most: int) -> Sequence[Any]:
    if deployment.audit_dsn is None:
        raise UsageError("the list is read from the ledger: set PAYCORE_AUDIT_DSN")
    queries = database.load("desk")
    try:
        connection = await asyncpg.connect(deployment.audit_dsn, timeout=CONNECT_TIMEOUT_S)
        try:
            rows: Sequence[Any] = await getattr(queries, query)(connection, most=most)
        finally:
            await connection.close()
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError) as error:
        raise UnavailableError(f"PostgreSQL cannot be reached: {error}") from error
    return rows


def _time(at_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_us)

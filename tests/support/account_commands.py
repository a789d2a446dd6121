"""Commands that change accounts, and what the audit says of them."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import asyncpg

from command_service.accounts.commands import (
    AccountStored,
    ChangeStatus,
    LinkIdentifier,
    SetLimit,
)
from paycore.domain.accounts import AccountId, AccountStatus
from paycore.domain.identifiers import ExternalIdentifier
from paycore.domain.money import Minor
from paycore.domain.transfers import Details
from tests.support.command_core import CLIENT

CLERK = Details(user_id="clerk-1", device_id="desk-1", ip_address="::1")


def change(which: AccountId, wanted: AccountStatus, **changes: Any) -> ChangeStatus:
    """The operator sets a status, under a key that says so."""
    values: dict[str, Any] = {
        "client": "operator",
        "key": f"{which}-{wanted}",
        "request_hash": f"{which}-{wanted}".encode(),
        "account": which,
        "status": wanted,
        "expected_revision": None,
        "reason": "suspicion",
        "actor": CLERK,
    }
    return ChangeStatus(**{**values, **changes})


def limit(which: AccountId, wanted: int, **changes: Any) -> SetLimit:
    """The operator sets a limit, under a key that says so."""
    values: dict[str, Any] = {
        "client": "operator",
        "key": f"{which}-{wanted}",
        "request_hash": f"{which}-{wanted}".encode(),
        "account": which,
        "limit": Minor(wanted),
        "expected_revision": None,
        "reason": "agreed",
        "actor": CLERK,
    }
    return SetLimit(**{**values, **changes})


def link(which: AccountId, value: str, **changes: Any) -> LinkIdentifier:
    """CLIENT links `stripe:value`, under a key that says so."""
    values: dict[str, Any] = {
        "client": CLIENT,
        "key": f"{which}-{value}",
        "request_hash": f"{which}-{value}".encode(),
        "account": which,
        "identifier": ExternalIdentifier("stripe", value),
        "actor": CLERK,
    }
    return LinkIdentifier(**{**values, **changes})


def stored(outcome: object) -> AccountStored:
    """`outcome`, which must be an account."""
    assert isinstance(outcome, AccountStored), outcome
    return outcome


class Audited(NamedTuple):
    """What a row of the audit says in the open: where a person was is sealed."""

    action: str
    before: Any
    after: Any
    client: str
    reason: str | None
    user_id: str | None
    device_id: str | None
    ip_address: str | None
    database_user: str | None
    id: int


async def audited(
    admin: asyncpg.Connection, account: AccountId | None = None, *, subject: str = ""
) -> list[Audited]:
    """The audit of one account, or of another subject, oldest first."""
    rows = await admin.fetch(
        "SELECT action, before, after, client, reason, user_id, device_id, ip_address,"
        " database_user, id FROM ledger.audit WHERE subject = $1 ORDER BY created_at_us",
        subject or f"account/{account}",
    )
    return [
        Audited(
            row["action"],
            None if row["before"] is None else json.loads(row["before"]),
            None if row["after"] is None else json.loads(row["after"]),
            *row[3:],
        )
        for row in rows
    ]

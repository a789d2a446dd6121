"""Accounts, commands and rules with defaults, so that a test names only what it is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any

from paycore.domain.accounts import Account, AccountId, AccountKind, AccountStatus
from paycore.domain.grants import Grant, GrantAction, Grants, GrantScope
from paycore.domain.money import Currency, Minor
from paycore.domain.plan import BatchState, Key, Plan, StoredOutcome
from paycore.domain.planning import plan_batch
from paycore.domain.rules import Rules
from paycore.domain.step_up import Authorization, AuthorizationMethod
from paycore.domain.transfers import TransferCommand, TransferKind

NOW_US = 1_700_000_000_000_000
CLIENT = "shop"
"""Opened the accounts, may do everything with them, and needs step-up above the threshold."""
THRESHOLD = 1_000_000_000

_ids = count(1_000)


def account(number: int, **changes: Any) -> Account:
    """An active EUR account of CLIENT's with 1,000 minor units."""
    values: dict[str, Any] = {
        "id": AccountId(number),
        "kind": AccountKind.CUSTOMER,
        "status": AccountStatus.ACTIVE,
        "currency": Currency("EUR"),
        "owner": f"owner-{number}",
        "institution": "bank",
        "opened_by": CLIENT,
        "balance": Minor(1_000),
        "held": Minor(0),
        "overdraft_limit": Minor(0),
        "version": 5,
        "revision": 0,
        "last_entry_us": NOW_US - 1_000_000,
        "created_at_us": NOW_US - 9_000_000,
    }
    return Account(**{**values, **changes})


def external(number: int, **changes: Any) -> Account:
    """An EXTERNAL account at minus what the others hold, for all that planning cares."""
    return account(number, **{"kind": AccountKind.EXTERNAL, "balance": Minor(-2_000), **changes})


def command(debit: int, credit: int, amount: int = 100, **changes: Any) -> TransferCommand:
    """A TRANSFER in EUR by CLIENT under a key of its own."""
    values: dict[str, Any] = {
        "client": CLIENT,
        "key": f"key-{next(_ids)}",
        "request_hash": f"{debit}/{credit}/{amount}".encode(),
        "kind": TransferKind.TRANSFER,
        "debit_account": AccountId(debit),
        "credit_account": AccountId(credit),
        "amount": Minor(amount),
        "currency": Currency("EUR"),
    }
    return TransferCommand(**{**values, **changes})


def authorization(user_id: str, **changes: Any) -> Authorization:
    """What the signing service would have issued a moment ago; the plan does not look inside."""
    values: dict[str, Any] = {
        "id": 77,
        "user_id": user_id,
        "method": AuthorizationMethod.PIN,
        "digest": bytes(32),
        "issued_at_us": NOW_US - 1_000_000,
        "expires_at_us": NOW_US + 1_000_000,
        "key_id": "key-1",
        "signature": bytes(64),
        "signed_at_us": NOW_US - 2_000_000,
    }
    return Authorization(**{**values, **changes})


def rules(
    *grants: tuple[str, GrantAction, GrantScope, str],
    thresholds: Mapping[str, int] | None = None,
) -> Rules:
    """Rules under which CLIENT may do all with its own accounts, and `grants` on top."""
    own = (
        Grant(CLIENT, action, GrantScope.OWN)
        for action in (
            GrantAction.TRANSFER,
            GrantAction.DEPOSIT,
            GrantAction.WITHDRAWAL,
            GrantAction.READ,
        )
    )
    return Rules(
        Grants.of((*own, *(Grant(*grant) for grant in grants))),
        {"EUR": THRESHOLD} if thresholds is None else thresholds,
    )


def state_of(accounts: Iterable[Account], stored: Mapping[Key, StoredOutcome] = {}) -> BatchState:
    """What a batch would have read."""
    return BatchState({one.id: one for one in accounts}, stored)


def plan(
    accounts: Iterable[Account],
    commands: Sequence[TransferCommand],
    with_rules: Rules | None = None,
    *,
    now_us: int = NOW_US,
    stored: Mapping[Key, StoredOutcome] = {},
) -> Plan:
    """The plan for `commands` against `accounts`, with ids from 1 on."""
    ids = range(1, len(commands) + 1)
    return plan_batch(state_of(accounts, stored), commands, with_rules or rules(), now_us, ids)

"""Accounts, commands and rules with defaults, so that a test names only what it is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any

from paycore.domain.accounts import Account, AccountId, AccountKind, AccountStatus
from paycore.domain.approvals import payment_intent
from paycore.domain.grants import Grant, GrantAction, Grants, GrantScope
from paycore.domain.money import Currency, Minor
from paycore.domain.plan import BatchState, Key, ParentState, Plan, StoredOutcome
from paycore.domain.planning import ids_needed, plan_batch
from paycore.domain.rules import Rules
from paycore.domain.step_up import Authorization, AuthorizationMethod, payment_digest
from paycore.domain.step_up_policy import StepUpPolicy
from paycore.domain.transfers import (
    ChildCommand,
    Command,
    GroupCommand,
    StepUpBasis,
    Transfer,
    TransferCommand,
    TransferId,
    TransferKind,
    TransferState,
)

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


def approved_payment(asked: TransferCommand, user_id: str, **changes: Any) -> TransferCommand:
    """`asked` with the approval of `user_id`, made for it but for `changes`."""
    given = authorization(user_id)
    digest = payment_digest(payment_intent(asked, given.signed_at_us))
    return asked._replace(authorization=given._replace(**{"digest": digest, **changes}))


def rules(
    *grants: tuple[str, GrantAction, GrantScope, str],
    thresholds: Mapping[str, int] | None = None,
    policies: Mapping[str, StepUpPolicy] | None = None,
) -> Rules:
    """Rules under which CLIENT may do all with its own accounts, and `grants` on top.

    `thresholds` stand for policies without more.
    """
    if policies is None:
        above = {"EUR": THRESHOLD} if thresholds is None else thresholds
        policies = {currency: StepUpPolicy(amount) for currency, amount in above.items()}
    own = (
        Grant(CLIENT, action, GrantScope.OWN)
        for action in (
            GrantAction.TRANSFER,
            GrantAction.DEPOSIT,
            GrantAction.WITHDRAWAL,
            GrantAction.HOLD,
            GrantAction.CAPTURE,
            GrantAction.RELEASE,
            GrantAction.REFUND,
            GrantAction.REVERSAL,
            GrantAction.FEE,
            GrantAction.NET_SETTLEMENT,
            GrantAction.READ,
        )
    )
    return Rules(
        Grants.of((*own, *(Grant(*grant) for grant in grants))),
        policies,
    )


def parent(
    kind: TransferKind = TransferKind.TRANSFER,
    amount: int = 100,
    *,
    debit: int = 1,
    credit: int = 2,
    children: int = 0,
    remaining: int | None = None,
    state: TransferState | None = None,
    **changes: Any,
) -> ParentState:
    """Transfer 900 from `debit` to `credit`, as it stands."""
    moves = kind is not TransferKind.HOLD
    transfer = Transfer(
        TransferId(900),
        AccountId(debit),
        AccountId(credit),
        Minor(amount),
        1,
        1 if moves else None,
        Minor(0),
        Minor(0) if moves else None,
        Minor(0),
        NOW_US - 5_000_000,
        None,
        None,
        kind,
        StepUpBasis.NOT_APPLICABLE,
        Currency("EUR"),
        CLIENT,
        None,
        None,
    )._replace(**changes)
    left = amount if remaining is None else remaining
    return ParentState(transfer, children, left, state or transfer.state)


def child(kind: TransferKind, amount: int | None = None, **changes: Any) -> ChildCommand:
    """What CLIENT asks to follow transfer 900, from account 1 to 2 or, given back, 2 to 1."""
    back = kind in (TransferKind.REFUND, TransferKind.REVERSAL)
    values: dict[str, Any] = {
        "client": CLIENT,
        "key": f"key-{next(_ids)}",
        "request_hash": f"{kind}/{amount}".encode(),
        "kind": kind,
        "parent": TransferId(900),
        "debit_account": AccountId(2 if back else 1),
        "credit_account": AccountId(1 if back else 2),
        "currency": Currency("EUR"),
        "amount": None if amount is None else Minor(amount),
    }
    return ChildCommand(**{**values, **changes})


def group(*items: TransferCommand, **changes: Any) -> GroupCommand:
    """`items` all or none, under one key of CLIENT's."""
    values: dict[str, Any] = {
        "client": CLIENT,
        "key": f"key-{next(_ids)}",
        "request_hash": b"group",
        "items": tuple(item._replace(key="", request_hash=b"") for item in items),
    }
    return GroupCommand(**{**values, **changes})


def plan(
    accounts: Iterable[Account],
    commands: Sequence[Command],
    with_rules: Rules | None = None,
    *,
    now_us: int = NOW_US,
    stored: Mapping[Key, StoredOutcome] = {},
    parents: Iterable[ParentState] = (),
    clock_us: int | None = None,
) -> Plan:
    """The plan for `commands` against `accounts` and `parents`, with ids from 1 on.

    The database's clock, `clock_us`, is the process's unless it is named.
    """
    ids = range(1, sum(map(ids_needed, commands)) + 1)
    state = BatchState(
        {one.id: one for one in accounts},
        stored,
        {one.transfer.id: one for one in parents},
        now_us if clock_us is None else clock_us,
    )
    return plan_batch(state, commands, with_rules or rules(), now_us, ids)

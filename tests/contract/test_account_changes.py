"""Limits, names and metadata of accounts as callers meet them."""

from __future__ import annotations

import secrets
from typing import Any

import asyncpg
import grpc
import pytest

from paycore.domain.accounts import AccountId
from paycore.v1 import account_pb2, actor_pb2
from paycore.v1 import account_service_pb2 as pb2
from tests.contract.conftest import World
from tests.support.account_commands import audited
from tests.support.callers import TIMEOUT_S, Caller, Callers, opening, payment, refusal_of
from tests.support.ledger_checks import counts

INVALID = grpc.StatusCode.INVALID_ARGUMENT
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
NOT_FOUND = grpc.StatusCode.NOT_FOUND
DENIED = grpc.StatusCode.PERMISSION_DENIED

CLERK = actor_pb2.Actor(user_id="clerk", device_id="desk", ip_address="10.1.2.3")
UNKNOWN = 1


def named(value: str, scheme: str = "stripe") -> account_pb2.ExternalIdentifier:
    return account_pb2.ExternalIdentifier(scheme=scheme, value=value)


def limit(account: int, units: int, **changes: Any) -> pb2.SetOverdraftLimitRequest:
    values: dict[str, Any] = {
        "idempotency_key": secrets.token_hex(8),
        "account_id": account,
        "overdraft_limit_minor_units": units,
        "reason": "agreed",
    }
    return pb2.SetOverdraftLimitRequest(**{**values, **changes})


def link(account: int, value: str, **changes: Any) -> pb2.LinkExternalIdentifierRequest:
    values: dict[str, Any] = {
        "idempotency_key": secrets.token_hex(8),
        "account_id": account,
        "identifier": named(value),
        "actor": CLERK,
    }
    return pb2.LinkExternalIdentifierRequest(**{**values, **changes})


async def test_a_limit_is_set_spent_audited_and_replayed(
    callers: Callers, app: Caller, tables: asyncpg.Connection
) -> None:
    operator = callers.of("operator")
    _, poor, other = await app.open(2)
    asked = limit(poor, 30, expected_revision=0)
    first = await operator.accounts.SetOverdraftLimit(asked, timeout=TIMEOUT_S)
    assert (first.account.overdraft_limit_minor_units, first.account.available_minor_units) == (
        30,
        30,
    )
    await app.submit(payment(poor, other, 30))
    again = await operator.accounts.SetOverdraftLimit(asked, timeout=TIMEOUT_S)
    assert again.replayed
    again.replayed = False
    assert again == first
    refusal = await refusal_of(
        operator.accounts.SetOverdraftLimit(limit(poor, 29), timeout=TIMEOUT_S)
    )
    assert refusal is not None
    assert refusal.error is not None
    assert (refusal.code, refusal.reason) == (PRECONDITION, "ILLEGAL_STATE")
    assert refusal.error.metadata == {
        "account": str(poor),
        "state": "ACTIVE",
        "currency": "EUR",
        "requested": "29",
        "used": "30",
    }
    (row,) = await audited(tables, AccountId(poor))
    assert (row.action, row.client, row.reason) == ("SET_OVERDRAFT_LIMIT", "operator", "agreed")


@pytest.mark.parametrize(
    ("changes", "code", "reason", "fields"),
    [
        ({"reason": ""}, INVALID, "INVALID_FIELD", ["reason"]),
        (
            {"overdraft_limit_minor_units": -1, "idempotency_key": ""},
            INVALID,
            "INVALID_FIELD",
            ["idempotency_key", "overdraft_limit_minor_units"],
        ),
        (
            {"overdraft_limit_minor_units": 2**62 + 1},
            INVALID,
            "INVALID_FIELD",
            ["overdraft_limit_minor_units"],
        ),
        ({"account_id": 0}, INVALID, "INVALID_FIELD", ["account_id"]),
        ({"account_id": UNKNOWN}, NOT_FOUND, "ACCOUNT_NOT_FOUND", []),
        ({"expected_revision": 9}, PRECONDITION, "VERSION_MISMATCH", []),
        ({"actor": CLERK}, DENIED, "NOT_PERMITTED", []),
    ],
)
async def test_a_bad_limit_changes_nothing(
    callers: Callers,
    world: World,
    tables: asyncpg.Connection,
    changes: dict[str, Any],
    code: grpc.StatusCode,
    reason: str,
    fields: list[str],
) -> None:
    before = await counts(tables)
    request = limit(world.payer, 5, **changes)
    refusal = await refusal_of(
        callers.of("operator").accounts.SetOverdraftLimit(request, timeout=TIMEOUT_S)
    )
    assert refusal is not None
    assert (refusal.code, refusal.reason, refusal.fields) == (code, reason, fields)
    assert await counts(tables) == before


async def test_the_world_outside_gets_no_limit(callers: Callers, world: World) -> None:
    refusal = await refusal_of(
        callers.of("operator").accounts.SetOverdraftLimit(
            limit(world.outside, 5), timeout=TIMEOUT_S
        )
    )
    assert refusal is not None
    assert (refusal.code, refusal.reason) == (PRECONDITION, "ACCOUNT_KIND_MISMATCH")


async def test_a_link_is_resolved_audited_and_replayed(
    callers: Callers, app: Caller, tables: asyncpg.Connection
) -> None:
    _, account, other = await app.open(2)
    value = secrets.token_hex(8)
    asked = link(account, value)
    first = await app.accounts.LinkExternalIdentifier(asked, timeout=TIMEOUT_S)
    assert first.account.id == account
    again = await app.accounts.LinkExternalIdentifier(asked, timeout=TIMEOUT_S)
    assert again.replayed
    again.replayed = False
    assert again == first
    for caller in (app, callers.of("loadtest"), callers.of("operator")):
        found = await caller.accounts.ResolveExternalIdentifier(
            pb2.ResolveExternalIdentifierRequest(identifier=named(value)), timeout=TIMEOUT_S
        )
        assert found.account_id == account
    for second in (link(account, value), link(other, value), link(account, value + "x")):
        refusal = await refusal_of(app.accounts.LinkExternalIdentifier(second, timeout=TIMEOUT_S))
        assert refusal is not None
        assert (refusal.code, refusal.reason) == (PRECONDITION, "ILLEGAL_STATE")
        assert refusal.error is not None
        assert refusal.error.metadata["account"] == str(second.account_id)
    (row,) = await audited(tables, AccountId(account))
    assert row[:2] == ("LINK_IDENTIFIER", None)
    assert (row.client, row.user_id) == ("app", "clerk")
    # Sealed under the clerk's key.
    assert (row.device_id, row.ip_address) == (None, None)


@pytest.mark.parametrize(
    ("changes", "code", "reason", "fields"),
    [
        ({"identifier": None}, INVALID, "INVALID_FIELD", ["identifier.scheme", "identifier.value"]),
        ({"identifier": named("v", "S")}, INVALID, "INVALID_FIELD", ["identifier.scheme"]),
        ({"identifier": named("a\nb")}, INVALID, "INVALID_FIELD", ["identifier.value"]),
        ({"account_id": 0}, INVALID, "INVALID_FIELD", ["account_id"]),
        ({"account_id": UNKNOWN}, NOT_FOUND, "ACCOUNT_NOT_FOUND", []),
        ({"account_id": "foreign"}, DENIED, "NOT_PERMITTED", []),
        ({"identifier": named("v", "not-given")}, DENIED, "NOT_PERMITTED", []),
        ({"account_id": "closed"}, PRECONDITION, "ILLEGAL_STATE", []),
    ],
)
async def test_a_bad_link_changes_nothing(
    app: Caller,
    world: World,
    tables: asyncpg.Connection,
    changes: dict[str, Any],
    code: grpc.StatusCode,
    reason: str,
    fields: list[str],
) -> None:
    if isinstance(changes.get("account_id"), str):
        changes = {"account_id": getattr(world, changes["account_id"])}
    before = await counts(tables)
    request = link(world.payer, secrets.token_hex(8), **changes)
    refusal = await refusal_of(app.accounts.LinkExternalIdentifier(request, timeout=TIMEOUT_S))
    assert refusal is not None
    assert (refusal.code, refusal.reason, refusal.fields) == (code, reason, fields)
    assert await counts(tables) == before


async def test_metadata_is_shown_again_and_is_part_of_the_request(app: Caller) -> None:
    asked = opening(metadata={"plan": "gold"})
    first = await app.accounts.CreateAccount(asked, timeout=TIMEOUT_S)
    assert dict(first.account.metadata) == {"plan": "gold"}
    again = await app.accounts.CreateAccount(asked, timeout=TIMEOUT_S)
    assert again.replayed
    assert again.account == first.account
    shown = await app.accounts.GetAccount(
        pb2.GetAccountRequest(account_id=first.account.id), timeout=TIMEOUT_S
    )
    assert shown.account == first.account
    for other in ({}, {"plan": "silver"}):
        changed = opening(idempotency_key=asked.idempotency_key, metadata=other)
        refusal = await refusal_of(app.accounts.CreateAccount(changed, timeout=TIMEOUT_S))
        assert refusal is not None
        assert refusal.reason == "IDEMPOTENCY_KEY_REUSED"
    refusal = await refusal_of(
        app.accounts.CreateAccount(
            opening(metadata={f"k{n}": "v" for n in range(21)}), timeout=TIMEOUT_S
        )
    )
    assert refusal is not None
    assert refusal.fields == ["metadata"]

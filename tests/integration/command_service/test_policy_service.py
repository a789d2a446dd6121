"""Policy changed by an operator: at once, once, audited, and by nobody else."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy.local import Endpoints
from paycore.v1 import actor_pb2
from paycore.v1 import policy_service_pb2 as pb2
from tests.support.callers import TIMEOUT_S, Caller, Callers, payment, refusal_of
from tests.support.command_process import command_process
from tests.support.databases import OwnDatabase
from tests.support.ledger_checks import violations


@dataclass
class Desk:
    callers: Callers
    admin: asyncpg.Connection

    @property
    def operator(self) -> Caller:
        return self.callers.of("operator")

    async def call(self, name: str, request: Any, identity: str = "operator") -> Any:
        return await getattr(self.callers.of(identity).policy, name)(request, timeout=TIMEOUT_S)

    async def refused(self, name: str, request: Any, identity: str = "operator") -> Any:
        refusal = await refusal_of(self.call(name, request, identity))
        assert refusal is not None
        return refusal

    async def audit(self) -> list[tuple[str, str, str, Any, Any]]:
        """Client, action, reason, before and after of each change since the seed."""
        rows = await self.admin.fetch(
            "SELECT client, action, reason, before, after FROM ledger.audit"
            " WHERE client = 'operator' ORDER BY id"
        )
        return [
            (*row[:3], *(None if one is None else json.loads(one) for one in row[3:]))
            for row in rows
        ]


@pytest.fixture
async def desk(
    endpoints: Endpoints, database: OwnDatabase, admin: asyncpg.Connection, tmp_path: Path
) -> AsyncIterator[Desk]:
    async with (
        command_process(
            endpoints, tmp_path / "command.log", POSTGRES_DSN=database.dsn("command")
        ) as (target, _),
        Callers(endpoints, command_target=target) as callers,
    ):
        yield Desk(callers, admin)
    assert await violations(admin) == []


def setting(threshold: int, currency: str = "EUR", **changes: Any) -> pb2.SetStepUpPolicyRequest:
    frame = {
        name: changes.pop(name)
        for name in ("idempotency_key", "expected_revision", "actor", "reason")
        if name in changes
    }
    return pb2.SetStepUpPolicyRequest(
        **{"idempotency_key": secrets.token_hex(8), "reason": "agreed", **frame},
        policy=pb2.StepUpPolicy(currency=currency, threshold_minor_units=threshold, **changes),
    )


def giving(client: str, action: str, scope: str = "OWN", institution: str = "") -> pb2.Grant:
    return pb2.Grant(
        client=client,
        accounts=pb2.AccountGrant(
            action=pb2.GrantAction.Value(f"GRANT_ACTION_{action}"),
            scope=pb2.GrantScope.Value(f"GRANT_SCOPE_{scope}"),
            institution=institution,
        ),
    )


async def test_a_policy_holds_at_once_and_a_retry_changes_nothing(desk: Desk) -> None:
    app = desk.callers.of("app")
    _, payer, payee = await app.open(2, balance=10_000)
    wanted = setting(500, daily_total_minor_units=900, first_payment_threshold_minor_units=100)
    done = await desk.call("SetStepUpPolicy", wanted)
    assert not done.replayed
    refusal = await refusal_of(app.submit(payment(payer, payee, 101)))
    assert refusal is not None
    assert refusal.error is not None
    assert refusal.error.metadata["rule"] == "FIRST_PAYMENT"
    again = await desk.call("SetStepUpPolicy", wanted)
    assert again.replayed
    assert again.policy == done.policy
    shown = await desk.call("GetStepUpPolicy", pb2.GetStepUpPolicyRequest(currency="EUR"))
    assert shown.policy == done.policy

    stale = setting(1, expected_revision=done.policy.revision - 1)
    refused = await desk.refused("SetStepUpPolicy", stale)
    assert refused.reason == "VERSION_MISMATCH"
    assert refused.error.metadata["actual"] == str(done.policy.revision)
    later = await desk.call("SetStepUpPolicy", setting(700, expected_revision=done.policy.revision))
    assert later.policy.revision > done.policy.revision
    assert not later.policy.HasField("daily_total_minor_units")
    # The retry of what was set before does not bring it back.
    assert (await desk.call("SetStepUpPolicy", wanted)).replayed
    listed = await desk.call("ListStepUpPolicies", pb2.ListStepUpPoliciesRequest())
    assert [one.currency for one in listed.policies] == ["BHD", "EUR", "JPY", "USD"]
    assert listed.policies[1] == later.policy
    reused = setting(3, idempotency_key=wanted.idempotency_key)
    assert (await desk.refused("SetStepUpPolicy", reused)).reason == "IDEMPOTENCY_KEY_REUSED"

    told = [(client, action, reason) for client, action, reason, *_ in await desk.audit()]
    assert told == [("operator", "CHANGE_STEP_UP_POLICY", "agreed")] * 2
    (*_, before, after) = (await desk.audit())[0]
    assert (before["threshold"], after["threshold"], after["daily_total"]) == (100_000, 500, 900)


async def test_a_currency_without_a_policy_asks_always(desk: Desk) -> None:
    app = desk.callers.of("app")
    _, payer, payee = await app.open(2, balance=10_000)
    removal = pb2.RemoveStepUpPolicyRequest(
        idempotency_key="remove", currency="EUR", reason="to be decided"
    )
    assert (await desk.call("RemoveStepUpPolicy", removal)).removed
    refusal = await refusal_of(app.submit(payment(payer, payee, 1)))
    assert refusal is not None
    assert refusal.error is not None
    assert refusal.error.metadata["rule"] == "NO_POLICY"
    missing = await desk.call("GetStepUpPolicy", pb2.GetStepUpPolicyRequest(currency="EUR"))
    assert not missing.HasField("policy")
    assert (await desk.refused("SetStepUpPolicy", setting(5, expected_revision=7))).reason == (
        "VERSION_MISMATCH"
    )
    await desk.call("SetStepUpPolicy", setting(5, expected_revision=0))
    assert (await desk.call("RemoveStepUpPolicy", removal)).replayed
    await app.submit(payment(payer, payee, 5))


async def test_grants_are_given_and_taken_once(desk: Desk) -> None:
    app = desk.callers.of("app")
    _, payer, payee = await app.open(2, balance=1_000_000)
    exempt = giving("app", "STEP_UP_EXEMPT")
    give = pb2.GiveGrantRequest(idempotency_key="give", grant=exempt, reason="payroll")
    assert (await desk.call("GiveGrant", give)).changed
    done = await app.submit(payment(payer, payee, 200_000))
    assert done.transfer.step_up_basis == 3
    same = pb2.GiveGrantRequest(idempotency_key="same", grant=exempt, reason="payroll")
    assert not (await desk.call("GiveGrant", same)).changed
    take = pb2.TakeGrantRequest(idempotency_key="take", grant=exempt, reason="ended")
    assert (await desk.call("TakeGrant", take)).changed
    replay = await desk.call("GiveGrant", give)
    assert (replay.changed, replay.replayed) == (True, True)
    refusal = await refusal_of(app.submit(payment(payer, payee, 200_000)))
    assert refusal is not None
    assert refusal.reason == "STEP_UP_REQUIRED"
    actions = [(action, reason) for _, action, reason, *_ in await desk.audit()]
    assert actions == [("ADD_GRANT", "payroll"), ("REMOVE_GRANT", "ended")]


async def test_an_actor_is_believed_only_from_a_client_that_may_speak_for_all(desk: Desk) -> None:
    app = desk.callers.of("app")
    _, payer, payee = await app.open(2, balance=1_000)
    # As an earlier release let it be given: it does nothing, and may be taken.
    await desk.admin.execute("INSERT INTO ledger.grants VALUES ('app', 'ACT_FOR_USERS', 'OWN')")
    everyone = giving("app", "ACT_FOR_USERS", "ALL")
    take = pb2.TakeGrantRequest(idempotency_key="all", grant=everyone, reason="narrower")
    assert (await desk.call("TakeGrant", take)).changed
    own = giving("app", "ACT_FOR_USERS", "OWN")
    asked = payment(payer, payee, 5, actor=actor_pb2.Actor(user_id="u"))
    refusal = await refusal_of(app.submit(asked))
    assert refusal is not None
    assert refusal.reason == "NOT_PERMITTED"
    take = pb2.TakeGrantRequest(idempotency_key="own", grant=own, reason="did nothing")
    assert (await desk.call("TakeGrant", take)).changed
    give = pb2.GiveGrantRequest(idempotency_key="give", grant=everyone, reason="for users")
    assert (await desk.call("GiveGrant", give)).changed
    await app.submit(asked)


async def test_grants_are_listed_by_pages_with_those_of_schemes(desk: Desk) -> None:
    scheme = pb2.Grant(client="app", scheme="paypal")
    await desk.call(
        "GiveGrant", pb2.GiveGrantRequest(idempotency_key="s", grant=scheme, reason="linked")
    )
    found: list[Any] = []
    token = ""
    while True:
        page = await desk.call(
            "ListGrants", pb2.ListGrantsRequest(client="app", page_size=4, page_token=token)
        )
        found += page.grants
        token = page.next_page_token
        if not token:
            break
        assert len(page.grants) == 4
    assert {one.client for one in found} == {"app"}
    assert [one.scheme for one in found if one.HasField("scheme")] == ["iban", "paypal", "stripe"]
    held = await desk.admin.fetchval("SELECT count(*) FROM ledger.grants WHERE client = 'app'")
    assert len(found) == held + 3
    page = await desk.call("ListGrants", pb2.ListGrantsRequest(client="app", page_size=1))
    other = pb2.ListGrantsRequest(client="loadtest", page_token=page.next_page_token)
    assert (await desk.refused("ListGrants", other)).fields == ["page_token"]


async def test_what_is_malformed_is_named(desk: Desk) -> None:
    bad = setting(-1, "XXY", first_payment_threshold_minor_units=5, reason="")
    assert set((await desk.refused("SetStepUpPolicy", bad)).fields) == {
        "policy.currency",
        "policy.threshold_minor_units",
        "policy.first_payment_threshold_minor_units",
        "reason",
    }
    for grant, fields in (
        (pb2.Grant(client="x"), {"grant.right", "grant.accounts.action", "grant.accounts.scope"}),
        (giving("", "READ", "INSTITUTION"), {"grant.client", "grant.accounts.institution"}),
        (giving("x", "READ", "ALL", "north"), {"grant.accounts.institution"}),
        (pb2.Grant(client="x", scheme="No!"), {"grant.scheme"}),
        (giving("x", "ACT_FOR_USERS", "OWN"), {"grant.accounts.scope"}),
        (giving("x", "ACT_FOR_USERS", "INSTITUTION", "north"), {"grant.accounts.scope"}),
        (giving("x", "ERASE", "OWN"), {"grant.accounts.scope"}),
        (giving("x", "WEBHOOKS", "OWN"), {"grant.accounts.scope"}),
    ):
        asked = pb2.GiveGrantRequest(idempotency_key="k", grant=grant, reason="r")
        assert set((await desk.refused("GiveGrant", asked)).fields) == fields
    actor = setting(5, actor=actor_pb2.Actor(user_id="u"))
    assert (await desk.refused("SetStepUpPolicy", actor)).reason == "NOT_PERMITTED"
    assert await desk.audit() == []


@pytest.mark.parametrize("identity", ["app", "loadtest", "analyst", "stranger"])
async def test_only_an_operator_may(desk: Desk, identity: str) -> None:
    refused = await desk.refused("SetStepUpPolicy", setting(1), identity)
    assert refused.reason == "NOT_PERMITTED"
    refused = await desk.refused("ListGrants", pb2.ListGrantsRequest(), identity)
    assert refused.reason == "NOT_PERMITTED"

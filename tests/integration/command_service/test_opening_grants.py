"""Accounts through which money could enter are opened by grant only."""

from __future__ import annotations

from typing import Any, cast

import asyncpg
import pytest

from command_service.accounts.identifiers import from_primary
from command_service.servicers.account_requests import AccountRequests
from command_service.servicers.accounts import AccountServicer
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.grants import Grant, GrantAction, Grants, GrantScope
from paycore.domain.rules import Rules
from paycore.runtime.identifiers import Identifiers
from paycore.runtime.server import Call
from paycore.v1 import account_pb2, account_service_pb2
from tests.support.command_core import CommandCore
from tests.support.ledger_checks import counts

EXTERNAL = {"kind": account_pb2.ACCOUNT_KIND_EXTERNAL}
OVERDRAFT = {"overdraft_limit_minor_units": 1}


def servicer(core: CommandCore, *grants: Grant) -> AccountServicer:
    requests = AccountRequests(lambda: Rules(Grants.of(grants), {}), bytes(32))
    return AccountServicer(core.accounts, Identifiers(from_primary(core.pool)), requests)


async def open_account(core: CommandCore, by: AccountServicer, **changes: Any) -> None:
    values: dict[str, Any] = {
        "idempotency_key": "one",
        "owner": "someone",
        "institution": "west",
        "currency": "EUR",
        "kind": account_pb2.ACCOUNT_KIND_CUSTOMER,
    }
    call = Call("plain", core.clock.monotonic_s() + 30, cast("Any", None))
    request = account_service_pb2.CreateAccountRequest(**{**values, **changes})
    await by.CreateAccount(request, call)


async def test_a_plain_account_needs_no_grant(core: CommandCore) -> None:
    await open_account(core, servicer(core))


@pytest.mark.parametrize(
    ("action", "changes"),
    [(GrantAction.OPEN_EXTERNAL, EXTERNAL), (GrantAction.SET_OVERDRAFT, OVERDRAFT)],
)
@pytest.mark.parametrize(
    ("scope", "institution"), [(GrantScope.INSTITUTION, "west"), (GrantScope.OWN, "")]
)
async def test_others_need_a_grant_that_reaches_them(
    core: CommandCore,
    admin: asyncpg.Connection,
    action: GrantAction,
    changes: dict[str, Any],
    scope: GrantScope,
    institution: str,
) -> None:
    before = await counts(admin)
    elsewhere = Grant("plain", action, GrantScope.INSTITUTION, "east")
    of_another = Grant("rich", action, GrantScope.ALL)
    for by in (servicer(core), servicer(core, elsewhere, of_another)):
        with pytest.raises(PaycoreError) as refusal:
            await open_account(core, by, **changes)
        assert refusal.value.reason is Reason.NOT_PERMITTED
        assert refusal.value.metadata == {"grant": action}
    assert await counts(admin) == before

    await open_account(core, servicer(core, Grant("plain", action, scope, institution)), **changes)
    assert (await counts(admin))["accounts"] == before["accounts"] + 1

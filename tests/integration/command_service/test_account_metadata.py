"""What clients keep with an account: apart from the account, shown again with it, erasable."""

from __future__ import annotations

import asyncpg

from paycore.domain.accounts import AccountId, AccountStatus
from tests.support.account_commands import change, stored
from tests.support.command_core import CommandCore, opening

TOLD = {"plan": "gold", "branch": "Köln"}


async def opened(core: CommandCore) -> AccountId:
    (outcome,) = await core.open_accounts([opening(metadata=TOLD)])
    assert stored(outcome).metadata == TOLD
    return stored(outcome).account.id


async def test_it_is_shown_with_the_account_and_after_each_change(core: CommandCore) -> None:
    a = await opened(core)
    found = await core.accounts.describe(a)
    assert found is not None
    assert found.metadata == TOLD
    assert (await core.change(change(a, AccountStatus.FROZEN))).metadata == TOLD


async def test_a_replay_shows_it_within_a_request_and_later(core: CommandCore) -> None:
    asked, plain = opening(metadata=TOLD), opening()
    first = await core.open_accounts([asked, plain, asked])
    later = await core.open_accounts([asked])
    assert [dict(stored(one).metadata) for one in (*first, *later)] == [TOLD, {}, TOLD, TOLD]


async def test_only_accounts_with_metadata_have_a_row(
    core: CommandCore, admin: asyncpg.Connection
) -> None:
    await core.open(3)
    a = await opened(core)
    assert [row["id"] for row in await admin.fetch("SELECT id FROM ledger.account_details")] == [a]


async def test_once_erased_it_is_shown_no_more(
    core: CommandCore, admin: asyncpg.Connection
) -> None:
    a = await opened(core)
    await admin.execute("DELETE FROM ledger.account_details WHERE id = $1", a)
    found = await core.accounts.describe(a)
    assert found is not None
    assert not found.metadata

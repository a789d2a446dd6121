"""Names of the world outside: one account's for ever, one of each scheme, found again at once."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from command_service.accounts.identifiers import from_primary
from paycore.domain.accounts import AccountId, AccountStatus
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.identifiers import ExternalIdentifier
from paycore.runtime.identifiers import Identifiers
from tests.support.account_commands import Audited, audited, change, link
from tests.support.command_core import CLIENT, CommandCore, command_core
from tests.support.databases import OwnDatabase
from tests.support.ledger_checks import counts

NAME = ExternalIdentifier("stripe", "cus_42")


async def test_a_link_is_found_and_audited(core: CommandCore, admin: asyncpg.Connection) -> None:
    _, a = await core.open(1)
    identifiers = Identifiers(from_primary(core.pool))
    assert await identifiers.find([NAME]) == {}
    done = await core.change(link(a, "cus_42"))
    assert (done.account.id, done.account.revision, done.replayed) == (a, 1, False)
    assert await identifiers.find([NAME]) == {NAME: a}
    (row,) = await audited(admin, a)
    assert row == Audited(
        "LINK_IDENTIFIER",
        None,
        {"scheme": "stripe", "value": "cus_42"},
        CLIENT,
        None,
        *("clerk-1", None, None),
        "paycore_command",
        row.id,
    )
    assert done.position is not None
    told = await admin.fetchval(
        "SELECT accounts FROM ledger.journal WHERE id = $1", done.position.journal_id
    )
    assert told == [a]


async def test_a_replay_shows_what_was_and_writes_nothing(
    core: CommandCore, admin: asyncpg.Connection
) -> None:
    _, a = await core.open(1)
    first = await core.change(link(a, "cus_42"))
    await core.change(change(a, AccountStatus.FROZEN))
    before = await counts(admin)
    again = await core.change(link(a, "cus_42"))
    assert again.replayed
    assert (again.account, again.position) == (first.account, first.position)
    assert await counts(admin) == before


@pytest.mark.parametrize("by", ["the same account", "another account", "another of its scheme"])
async def test_a_name_is_given_once(core: CommandCore, admin: asyncpg.Connection, by: str) -> None:
    _, a, b = await core.open(2)
    await core.change(link(a, "cus_42"))
    second = {
        "the same account": link(a, "cus_42", key="again"),
        "another account": link(b, "cus_42"),
        "another of its scheme": link(a, "cus_43"),
    }[by]
    before = await counts(admin)
    with pytest.raises(PaycoreError) as refusal:
        await core.change(second)
    assert refusal.value.reason is Reason.ILLEGAL_STATE
    assert refusal.value.metadata["account"] == str(second.account)
    if second.account == b:
        assert str(a) not in f"{refusal.value} {refusal.value.metadata}"
    assert await counts(admin) == before


async def test_an_account_has_names_of_several_schemes(core: CommandCore) -> None:
    _, a = await core.open(1)
    iban = ExternalIdentifier("iban", "DE02 1203 0000 0000 2020 51")
    await core.change(link(a, "cus_42"))
    await core.change(link(a, "iban", identifier=iban))
    found = await Identifiers(from_primary(core.pool)).find([NAME, iban])
    assert found == {NAME: a, iban: a}


async def test_of_many_who_want_a_name_at_once_one_gets_it(
    core: CommandCore, database: OwnDatabase, admin: asyncpg.Connection
) -> None:
    _, *accounts = await core.open(8)
    async with command_core(database.dsn("command")) as other:
        answers = await asyncio.gather(
            *((core, other)[n % 2].change(link(one, "cus_42")) for n, one in enumerate(accounts)),
            return_exceptions=True,
        )
    refused = [one for one in answers if isinstance(one, PaycoreError)]
    assert len(answers) - len(refused) == 1
    assert {one.reason for one in refused} == {Reason.ILLEGAL_STATE}
    assert await admin.fetchval("SELECT count(*) FROM ledger.external_identifiers") == 1


async def test_copies_of_a_link_at_once_have_one_effect_and_equal_replies(
    core: CommandCore, database: OwnDatabase, admin: asyncpg.Connection
) -> None:
    _, a = await core.open(1)
    async with command_core(database.dsn("command")) as other:
        answers = await asyncio.gather(
            *((core, other)[n % 2].change(link(a, "cus_42")) for n in range(10))
        )
    assert len({(answer.account, answer.position) for answer in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1
    assert len(await audited(admin, a)) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"client": "app"}, Reason.NOT_PERMITTED),
        ({"account": AccountId(1)}, Reason.ACCOUNT_NOT_FOUND),
    ],
)
async def test_a_refused_link_writes_nothing(
    core: CommandCore, admin: asyncpg.Connection, changes: dict[str, Any], reason: Reason
) -> None:
    _, a = await core.open(1)
    before = await counts(admin)
    with pytest.raises(PaycoreError) as refusal:
        await core.change(link(a, "cus_42", **changes))
    assert refusal.value.reason is reason
    assert await counts(admin) == before


async def test_a_client_cannot_take_names_of_a_scheme_that_it_was_not_given(
    database: OwnDatabase, admin: asyncpg.Connection
) -> None:
    await admin.execute("DELETE FROM ledger.scheme_grants WHERE client = $1", CLIENT)
    async with command_core(database.dsn("command")) as core:
        _, a = await core.open(1)
        before = await counts(admin)
        with pytest.raises(PaycoreError) as refusal:
            await core.change(link(a, "cus_42"))
        assert refusal.value.reason is Reason.NOT_PERMITTED
        assert refusal.value.metadata == {"grant": "LINK_IDENTIFIER", "scheme": "stripe"}
        assert await counts(admin) == before
        # Given, it may: the same key is decided afresh.
        await admin.execute("INSERT INTO ledger.scheme_grants VALUES ($1, 'stripe')", CLIENT)
        await core.rules.load()
        await core.change(link(a, "cus_42"))
        with pytest.raises(PaycoreError) as refusal:
            await core.change(
                link(a, "visa", identifier=ExternalIdentifier("card", "4111"), key="other")
            )
        assert refusal.value.metadata["scheme"] == "card"


async def test_what_was_linked_is_answered_and_found_after_the_scheme_was_taken_away(
    core: CommandCore, admin: asyncpg.Connection
) -> None:
    _, a = await core.open(1)
    await core.change(link(a, "cus_42"))
    await admin.execute("DELETE FROM ledger.scheme_grants")
    await core.rules.load()
    assert (await core.change(link(a, "cus_42"))).replayed
    assert await Identifiers(from_primary(core.pool)).find([NAME]) == {NAME: a}


async def test_a_closed_account_gets_no_name(core: CommandCore) -> None:
    _, a = await core.open(1, balance=0)
    await core.change(change(a, AccountStatus.CLOSED))
    with pytest.raises(PaycoreError) as refusal:
        await core.change(link(a, "cus_42"))
    assert refusal.value.reason is Reason.ILLEGAL_STATE

"""Setting how far below zero an account may go: once per key, never below what is used, audited."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from paycore.domain.accounts import AccountId, AccountStatus
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.money import Minor
from paycore.domain.transfers import Declined, Details, Posted
from tests.support.account_commands import Audited, audited, change, limit, stored
from tests.support.command_core import CLIENT, CommandCore, command_core, opening, payment, posted
from tests.support.databases import OwnDatabase
from tests.support.ledger_checks import counts


async def test_a_limit_lets_an_account_go_below_zero_that_far(core: CommandCore) -> None:
    _, a, b = await core.open(2, balance=0)
    done = await core.change(limit(a, 100))
    assert (done.account.overdraft_limit, done.account.revision, done.replayed) == (100, 1, False)
    posted([await core.one(payment(a, b, 100))])
    assert isinstance(await core.one(payment(a, b, 1)), Declined)


async def test_the_audit_says_who_and_from_where_and_at_which_entry(
    core: CommandCore, admin: asyncpg.Connection
) -> None:
    _, a, b = await core.open(2)
    posted([await core.one(payment(a, b, 7))])
    done = await core.change(limit(a, 100))
    (row,) = await audited(admin, a)
    assert row == Audited(
        "SET_OVERDRAFT_LIMIT",
        {"overdraft_limit": 0, "revision": 0, "version": 2},
        {"overdraft_limit": 100, "revision": 1, "version": 2},
        "operator",
        "agreed",
        *("clerk-1", None, None),
        "paycore_command",
        row.id,
    )
    assert row.id > done.account.id
    assert done.position is not None
    told = await admin.fetchval(
        "SELECT accounts FROM ledger.journal WHERE id = $1", done.position.journal_id
    )
    assert told == [a]


async def test_it_never_goes_below_what_is_used(
    core: CommandCore, admin: asyncpg.Connection
) -> None:
    _, a, b = await core.open(2, balance=0)
    await core.change(limit(a, 100))
    posted([await core.one(payment(a, b, 60))])
    before = await counts(admin)
    with pytest.raises(PaycoreError) as refusal:
        await core.change(limit(a, 59))
    assert refusal.value.reason is Reason.ILLEGAL_STATE
    assert refusal.value.metadata == {
        "account": str(a),
        "state": "ACTIVE",
        "currency": "EUR",
        "requested": "59",
        "used": "60",
    }
    assert await counts(admin) == before
    assert (await core.change(limit(a, 60))).account.available == 0
    # What was paid under the limit of then stays lawful under a lower one.
    posted([await core.one(payment(b, a, 60))])
    assert (await core.change(limit(a, 0))).account.overdraft_limit == 0


async def test_lowering_beside_payments_never_breaks_the_floor(
    core: CommandCore, database: OwnDatabase, admin: asyncpg.Connection
) -> None:
    _, a, b = await core.open(2, balance=0)
    await core.change(limit(a, 50))
    async with command_core(database.dsn("command")) as other:
        outcomes = await asyncio.gather(
            *(core.one(payment(a, b, 1)) for _ in range(60)),
            *(other.change(limit(a, wanted)) for wanted in (40, 30, 20, 10)),
            return_exceptions=True,
        )
    account = await core.accounts.read(a)
    assert account is not None
    assert account.available >= 0
    paid = sum(isinstance(one, Posted) for one in outcomes)
    assert account.balance == -paid
    refused = [one for one in outcomes if isinstance(one, Exception)]
    assert all(
        isinstance(one, PaycoreError) and one.reason is Reason.ILLEGAL_STATE for one in refused
    )
    # The core's fixture holds every entry against the limit of its moment.


async def test_a_replay_audits_nothing_more_and_shows_what_was(
    core: CommandCore, admin: asyncpg.Connection
) -> None:
    _, a = await core.open(1, balance=0)
    first = await core.change(limit(a, 100))
    await core.change(limit(a, 200))
    again = await core.change(limit(a, 100))
    assert again.replayed
    assert (again.account, again.position) == (first.account, first.position)
    assert len(await audited(admin, a)) == 2
    with pytest.raises(PaycoreError) as refusal:
        await core.change(limit(a, 300, key=f"{a}-100"))
    assert refusal.value.reason is Reason.IDEMPOTENCY_KEY_REUSED


async def test_one_key_at_once_has_one_effect_and_equal_replies(
    core: CommandCore, database: OwnDatabase, admin: asyncpg.Connection
) -> None:
    _, a = await core.open(1, balance=0)
    async with command_core(database.dsn("command")) as other:
        answers = await asyncio.gather(
            *((core, other)[n % 2].change(limit(a, 100)) for n in range(10))
        )
    assert len({(answer.account, answer.position) for answer in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1
    assert len(await audited(admin, a)) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"client": "app"}, Reason.NOT_PERMITTED),
        ({"expected_revision": 7}, Reason.VERSION_MISMATCH),
        ({"account": AccountId(1)}, Reason.ACCOUNT_NOT_FOUND),
    ],
)
async def test_a_refused_change_writes_nothing(
    core: CommandCore, admin: asyncpg.Connection, changes: dict[str, Any], reason: Reason
) -> None:
    _, a = await core.open(1)
    before = await counts(admin)
    with pytest.raises(PaycoreError) as refusal:
        await core.change(limit(a, 100, **changes))
    assert refusal.value.reason is reason
    assert await counts(admin) == before


async def test_external_and_closed_accounts_get_none(core: CommandCore) -> None:
    outside, a = await core.open(1, balance=0)
    await core.change(change(a, AccountStatus.CLOSED))
    for which, reason in ((outside, Reason.ACCOUNT_KIND_MISMATCH), (a, Reason.ILLEGAL_STATE)):
        with pytest.raises(PaycoreError) as refusal:
            await core.change(limit(which, 1))
        assert refusal.value.reason is reason


async def test_the_expected_revision_may_be_named(core: CommandCore) -> None:
    _, a = await core.open(1)
    assert (await core.change(limit(a, 1, expected_revision=0))).account.revision == 1
    assert (await core.change(limit(a, 2, expected_revision=1))).account.revision == 2


@pytest.mark.parametrize("reads", [False, True])
async def test_at_which_revision_it_is_instead_is_told_to_readers(
    database: OwnDatabase, admin: asyncpg.Connection, reads: bool
) -> None:
    for action in ("SET_OVERDRAFT", *(["READ"] if reads else [])):
        await admin.execute(
            "INSERT INTO ledger.grants (client, action, scope) VALUES ('rival', $1, 'ALL')", action
        )
    async with command_core(database.dsn("command")) as core:
        _, a = await core.open(1)
        with pytest.raises(PaycoreError) as refusal:
            await core.change(limit(a, 1, client="rival", expected_revision=7))
    assert refusal.value.reason is Reason.VERSION_MISMATCH
    told = {"actual": "0"} if reads else {}
    assert refusal.value.metadata == {"account": str(a), "expected": "7", **told}


async def test_limits_given_at_the_opening_are_audited_to_their_own_actors(
    core: CommandCore, admin: asyncpg.Connection
) -> None:
    ada, ben = Details(user_id="ada"), Details(user_id="ben")
    outcomes = await core.open_accounts(
        [
            opening(overdraft_limit=Minor(5), actor=ada),
            opening(actor=ben),
            opening(overdraft_limit=Minor(6), actor=ben),
        ]
    )
    first, plain, second = (stored(one).account.id for one in outcomes)
    assert [
        (row.before, row.after["overdraft_limit"], row.client, row.user_id)
        for which in (first, plain, second)
        for row in await audited(admin, which)
    ] == [(None, 5, CLIENT, "ada"), (None, 6, CLIENT, "ben")]

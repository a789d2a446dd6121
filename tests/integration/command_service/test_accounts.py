"""Opening accounts and changing their status: once per key, and never without an audit row."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from command_service.accounts import turns
from command_service.accounts.commands import AccountRefused
from paycore.domain.accounts import AccountId, AccountStatus
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.money import MAX_MINOR, Minor
from paycore.domain.transfers import ChildCommand, Declined, TransferKind
from tests.support.account_commands import Audited, audited, change, stored
from tests.support.command_core import (
    CLIENT,
    CommandCore,
    command_core,
    opening,
    payment,
    posted,
)
from tests.support.databases import OwnDatabase
from tests.support.ledger_checks import counts
from tests.support.locks import locked, until_waiting


class TestOpening:
    async def test_a_key_opens_one_account_however_often_it_comes(
        self, core: CommandCore, admin: asyncpg.Connection
    ) -> None:
        one, two = opening(), opening()
        first = await core.open_accounts([one, two, one])
        again = await core.open_accounts([two, opening(), one])
        assert [stored(outcome).replayed for outcome in first] == [False, False, True]
        assert [stored(outcome).replayed for outcome in again] == [True, False, True]
        assert stored(first[0]).account == stored(first[2]).account == stored(again[2]).account
        assert stored(first[0]).position == stored(again[2]).position
        found = await counts(admin)
        assert (found["accounts"], found["idempotency_keys"], found["journal"]) == (3, 3, 2)

    async def test_a_replay_shows_the_account_as_it_was(self, core: CommandCore) -> None:
        asked = opening()
        (first,) = await core.open_accounts([asked])
        outside, other = await core.open(1)
        assert outside
        (done,) = posted([await core.one(payment(other, stored(first).account.id, 5))])
        assert done.transfer.credit_balance_after == 5
        (again,) = await core.open_accounts([asked])
        assert stored(again).account == stored(first).account
        assert stored(again).account.balance == 0

    async def test_another_body_under_the_key_is_refused(self, core: CommandCore) -> None:
        asked = opening()
        other = asked._replace(request_hash=b"other")
        _, within = await core.open_accounts([asked, other])
        (later,) = await core.open_accounts([other])
        for outcome in (within, later):
            assert isinstance(outcome, AccountRefused)
            assert outcome.error.reason is Reason.IDEMPOTENCY_KEY_REUSED

    async def test_a_key_of_a_transfer_opens_no_account(self, core: CommandCore) -> None:
        _, a, b = await core.open(2)
        asked = payment(a, b, 1)
        posted([await core.one(asked)])
        (refused,) = await core.open_accounts(
            [opening(key=asked.key, request_hash=asked.request_hash)]
        )
        assert isinstance(refused, AccountRefused)
        assert refused.error.reason is Reason.IDEMPOTENCY_KEY_REUSED

    async def test_copies_at_the_same_time_open_one(
        self, core: CommandCore, database: OwnDatabase, admin: asyncpg.Connection
    ) -> None:
        asked = [opening() for _ in range(5)]
        async with command_core(database.dsn("command")) as other:
            answers = await asyncio.gather(
                *((core, other)[n % 2].open_accounts(asked) for n in range(10))
            )
        ids = {tuple(stored(outcome).account.id for outcome in answer) for answer in answers}
        assert len(ids) == 1
        assert (await counts(admin))["accounts"] == 5
        assert sum(not stored(answer[0]).replayed for answer in answers) == 1


class TestStatus:
    async def test_a_change_is_audited_with_before_and_after(
        self, core: CommandCore, admin: asyncpg.Connection
    ) -> None:
        _, a, b = await core.open(2)
        done = await core.change(change(a, AccountStatus.FROZEN))
        assert (done.account.status, done.account.revision) == (AccountStatus.FROZEN, 1)
        (row,) = await audited(admin, a)
        assert row == Audited(
            "SET_STATUS",
            {"status": "ACTIVE", "revision": 0},
            {"status": "FROZEN", "revision": 1},
            "operator",
            "suspicion",
            *("clerk-1", None, None),
            "paycore_command",
            row.id,
        )
        assert row.id > done.account.id
        declined = await core.one(payment(a, b, 1))
        assert isinstance(declined, Declined)
        posted([await core.one(payment(b, a, 1))])

    async def test_a_replay_audits_nothing_more_and_shows_what_was(
        self, core: CommandCore, admin: asyncpg.Connection
    ) -> None:
        _, a = await core.open(1)
        freeze = change(a, AccountStatus.FROZEN)
        first = await core.change(freeze)
        await core.change(change(a, AccountStatus.ACTIVE))
        again = await core.change(freeze)
        assert (again.replayed, again.account, again.position) == (
            True,
            first.account,
            first.position,
        )
        assert len(await audited(admin, a)) == 2
        assert (
            await admin.fetchval("SELECT status FROM ledger.accounts WHERE id = $1", a) == "ACTIVE"
        )

    async def test_an_account_with_money_cannot_be_closed_and_closed_is_final(
        self, core: CommandCore, admin: asyncpg.Connection
    ) -> None:
        _, a, b = await core.open(2)
        before = await counts(admin)
        with pytest.raises(PaycoreError) as refusal:
            await core.change(change(a, AccountStatus.CLOSED))
        assert refusal.value.reason is Reason.ILLEGAL_STATE
        assert await counts(admin) == before
        posted([await core.one(payment(a, b, 1_000))])
        await core.change(change(a, AccountStatus.CLOSED))
        with pytest.raises(PaycoreError) as refusal:
            await core.change(change(a, AccountStatus.ACTIVE))
        assert refusal.value.reason is Reason.ILLEGAL_STATE

    async def test_an_account_with_a_hold_cannot_be_closed(self, core: CommandCore) -> None:
        _, a, b = await core.open(2, balance=0, overdraft_limit=Minor(10))
        (held,) = posted(
            [
                await core.one(
                    payment(
                        a,
                        b,
                        10,
                        kind=TransferKind.HOLD,
                        expires_at_us=core.clock.now_us() + 3_600_000_000,
                    )
                )
            ]
        )
        hold = held.transfer
        with pytest.raises(PaycoreError) as refusal:
            await core.change(change(a, AccountStatus.CLOSED))
        assert refusal.value.reason is Reason.ILLEGAL_STATE
        release = ChildCommand(
            CLIENT,
            f"release-{hold.id}",
            b"hash",
            TransferKind.RELEASE,
            hold.id,
            hold.debit_account,
            hold.credit_account,
            hold.currency,
        )
        posted([await core.one(release)])
        done = await core.change(change(a, AccountStatus.CLOSED))
        assert done.account.status is AccountStatus.CLOSED

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"client": "app"}, Reason.NOT_PERMITTED),
            ({"expected_revision": 7}, Reason.VERSION_MISMATCH),
            ({"account": AccountId(1)}, Reason.ACCOUNT_NOT_FOUND),
            ({"status": AccountStatus.ACTIVE}, Reason.ILLEGAL_STATE),
        ],
    )
    async def test_a_refused_change_writes_nothing(
        self,
        core: CommandCore,
        admin: asyncpg.Connection,
        changes: dict[str, Any],
        reason: Reason,
    ) -> None:
        _, a = await core.open(1)
        before = await counts(admin)
        with pytest.raises(PaycoreError) as refusal:
            await core.change(change(a, AccountStatus.FROZEN, **changes))
        assert refusal.value.reason is reason
        assert await counts(admin) == before

    async def test_payments_and_changes_at_once_never_conflict_for_good(
        self, core: CommandCore, database: OwnDatabase
    ) -> None:
        _, a, b = await core.open(2)
        async with command_core(database.dsn("command")) as other:

            async def toggle() -> None:
                for turn in range(6):
                    status = AccountStatus.ACTIVE if turn % 2 else AccountStatus.FROZEN
                    await other.change(change(a, status, key=f"turn-{turn}"))

            payments = (core.one(payment(b, a, 1)) for _ in range(30))
            _, *outcomes = await asyncio.gather(toggle(), *payments)
        posted([outcome for outcome in outcomes if outcome is not None])


class TestBounds:
    async def test_nothing_is_written_after_the_deadline(
        self, core: CommandCore, admin: asyncpg.Connection, database: OwnDatabase
    ) -> None:
        _, a = await core.open(1)
        before = await counts(admin)
        async with locked(admin, a):
            changing = asyncio.create_task(
                core.change(change(a, AccountStatus.FROZEN), within_s=0.3)
            )
            await until_waiting(database)
            await asyncio.sleep(0.4)
        with pytest.raises(PaycoreError) as refusal:
            await changing
        assert refusal.value.reason is Reason.DEADLINE_EXCEEDED
        assert await counts(admin) == before

    async def test_commands_that_wait_for_their_turn_hear_of_their_deadline(
        self, core: CommandCore, admin: asyncpg.Connection, database: OwnDatabase
    ) -> None:
        _, a = await core.open(1)
        async with locked(admin, a):
            holding = [
                asyncio.create_task(
                    core.change(change(a, AccountStatus.FROZEN, key=f"turn-{turn}"))
                )
                for turn in range(turns.AT_ONCE)
            ]
            await until_waiting(database, turns.AT_ONCE)
            with pytest.raises(PaycoreError) as refusal:
                await core.open_accounts([opening()], within_s=0.2)
        assert refusal.value.reason is Reason.DEADLINE_EXCEEDED
        await asyncio.gather(*holding, return_exceptions=True)
        stored(*await core.open_accounts([opening()]))

    async def test_no_more_wait_than_allowed(
        self,
        admin: asyncpg.Connection,
        database: OwnDatabase,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(turns, "MOST_WAITING", 1)
        async with command_core(database.dsn("command")) as core:
            _, a = await core.open(1)
            async with locked(admin, a):
                holding = [
                    asyncio.create_task(
                        core.change(change(a, AccountStatus.FROZEN, key=f"turn-{turn}"))
                    )
                    for turn in range(turns.AT_ONCE)
                ]
                await until_waiting(database, turns.AT_ONCE)
                waiting = asyncio.create_task(core.open_accounts([opening()]))
                await asyncio.sleep(0.05)
                with pytest.raises(PaycoreError) as refusal:
                    await core.open_accounts([opening()])
            assert refusal.value.reason is Reason.OVERLOADED
            assert refusal.value.retry_after_ms
            stored(*await waiting)
            await asyncio.gather(*holding, return_exceptions=True)


async def test_what_is_available_never_leaves_int64(core: CommandCore) -> None:
    (outcome,) = await core.open_accounts([opening(overdraft_limit=Minor(2**62))])
    external, _ = await core.open(1)
    rich = stored(outcome).account.id
    posted([await core.one(payment(external, rich, 2**62, kind=TransferKind.DEPOSIT))])

    found = await core.accounts.read(rich)

    assert found is not None
    assert found.balance + found.overdraft_limit == 2**63
    assert found.available == MAX_MINOR

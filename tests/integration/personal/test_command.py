"""Payments with personal data: stored, replayed, erased, and while the signer is away."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
from prometheus_client import REGISTRY

from paycore.domain.accounts import AccountId
from paycore.domain.errors import Reason
from paycore.domain.sealed import SubjectKey, Unreadable
from paycore.domain.transfers import (
    ChildCommand,
    Declined,
    Details,
    GroupCommand,
    GroupPosted,
    Posted,
    Refused,
    TransferCommand,
    TransferKind,
)
from paycore.runtime.data_keys import KeyLimits
from tests.integration.personal.conftest import Desk, open_desk
from tests.support.clocks import ShiftedClock
from tests.support.command_core import payment
from tests.support.data_key_server import DataKeyServer
from tests.support.databases import OwnDatabase
from tests.support.locks import until_waiting

ADA = Details("ada", "phone-1", "192.0.2.7", "canary rent", {"flat": "canary 4b"})
CLERK = Details("clerk", "desk-1", "192.0.2.9", "canary fee", None)


def detailed(debit: AccountId, credit: AccountId, details: Details = ADA, **more: Any) -> Any:
    return payment(debit, credit, 5, details=details, details_hash=b"h", **more)


def shown(outcome: object) -> Any:
    """The details that a posting tells."""
    assert isinstance(outcome, Posted), outcome
    return outcome.details


async def stored(admin: asyncpg.Connection, outcome: object) -> Any:
    """The row of details of a posting."""
    assert isinstance(outcome, Posted)
    return await admin.fetchrow(
        "SELECT * FROM ledger.transfer_details WHERE id = $1", outcome.transfer.id
    )


async def test_only_what_is_sealed_is_stored_and_a_replay_opens_it(
    desk: Desk, admin: asyncpg.Connection
) -> None:
    _, payer, payee = await desk.core.open(2, owner="ada")
    request = detailed(payer, payee)
    first = await desk.one(request)
    assert shown(first) == ADA
    row = await stored(admin, first)
    assert {row[name] for name in ("user_id", "device_id", "ip_address", "description")} == {None}
    assert row["metadata"] is None
    assert b"canary" not in row["sealed"]
    assert row["actor_key"] is None
    again = await desk.one(request)
    assert isinstance(again, Posted)
    assert again.replayed
    assert shown(again) == ADA


async def test_once_erased_every_process_tells_so_at_once(
    desk: Desk, database: OwnDatabase, signer: DataKeyServer
) -> None:
    _, payer, payee = await desk.core.open(2, owner="ada")
    request, other = detailed(payer, payee), detailed(payer, payee)
    assert shown(await desk.one(request)) == ADA
    assert shown(await desk.one(other)) == ADA
    async with open_desk(database, signer) as neighbour:
        assert shown(await neighbour.one(request)) == ADA
        erased = await desk.erase("ada")
        assert (erased.destroyed_keys, erased.position is not None) == (1, True)
        # The neighbour still has the key in its memory, and shows nothing any more.
        for one in (desk, neighbour):
            for command in (request, other):
                assert shown(await one.one(command)) is Unreadable.ERASED


async def test_a_subject_that_pays_again_gets_another_key_and_the_old_stays_erased(
    desk: Desk, admin: asyncpg.Connection
) -> None:
    _, payer, payee = await desk.core.open(2, owner="ada")
    old, new = detailed(payer, payee), detailed(payer, payee)
    first = await desk.one(old)
    await desk.erase("ada")
    second = await desk.one(new)
    assert shown(second) == ADA
    assert shown(await desk.one(new)) == ADA
    assert shown(await desk.one(old)) is Unreadable.ERASED
    keys = [(await stored(admin, outcome))["owner_key"] for outcome in (first, second)]
    assert keys[0] != keys[1]


async def test_who_asks_after_an_erasure_joins_no_question_of_before(
    desk: Desk, database: OwnDatabase, signer: DataKeyServer, admin: asyncpg.Connection
) -> None:
    async with open_desk(database, signer) as neighbour:
        (old,) = (await neighbour.keys.of_subjects(["ada"], 5)).values()
    transaction = admin.transaction()
    await transaction.start()
    # A key of Bob's that somebody is about to make, and then does not.
    await admin.execute(
        "INSERT INTO signing.data_keys (id, subject, wrapping_key_id, wrapped)"
        " VALUES (1, 'bob', 'w', $1)", bytes(32)
    )  # fmt: skip
    before = asyncio.create_task(desk.keys.of_subjects(["ada", "bob"], 5))
    await until_waiting(database, role="paycore_signing")
    await desk.keys.destroy("ada", 5)
    after = asyncio.create_task(desk.keys.of_subjects(["ada"], 5))
    await asyncio.sleep(0)
    await transaction.rollback()
    assert (await before)["ada"] == old
    new = (await after)["ada"]
    assert isinstance(new, SubjectKey)
    assert new != old
    assert await desk.keys.by_ids([new.id], 5) == {new.id: new}


async def test_erasing_either_of_two_people_erases_what_concerns_both(desk: Desk) -> None:
    _, payer, payee = await desk.core.open(2, owner="ada")
    requests = [detailed(payer, payee, CLERK), detailed(payer, payee, ADA)]
    for request in requests:
        await desk.one(request)
    await desk.erase("clerk")
    assert [shown(await desk.one(one)) for one in requests] == [Unreadable.ERASED, ADA]
    await desk.erase("ada")
    assert [shown(await desk.one(one)) for one in requests] == [Unreadable.ERASED] * 2


async def test_whoever_is_paid_back_is_the_subject_and_never_the_world_outside(
    desk: Desk, admin: asyncpg.Connection
) -> None:
    outside, payer = await desk.core.open(1, owner="ada")
    _, shop = await desk.core.open(1, owner="shop")
    plain = Details(description="canary")
    deposit = await desk.one(detailed(outside, payer, plain, kind=TransferKind.DEPOSIT))
    paid = await desk.one(detailed(payer, shop, plain))
    assert isinstance(paid, Posted)
    refund = await desk.one(
        ChildCommand(
            paid.transfer.client, "refund-1", b"r", TransferKind.REFUND, paid.transfer.id, shop,
            payer, paid.transfer.currency, details=plain, details_hash=b"h",
        )
    )  # fmt: skip
    keys = {(await stored(admin, outcome))["owner_key"] for outcome in (deposit, paid, refund)}
    assert len(keys) == 1
    subjects = await admin.fetch("SELECT subject FROM signing.data_keys")
    assert [row["subject"] for row in subjects] == ["ada"]


async def test_a_decline_and_a_group_keep_their_details_sealed(
    desk: Desk, admin: asyncpg.Connection
) -> None:
    _, payer, payee = await desk.core.open(2, owner="ada")
    declined = await desk.one(detailed(payer, payee)._replace(amount=10**9))
    assert isinstance(declined, Declined)
    items = tuple(detailed(payer, payee)._replace(key="", request_hash=b"") for _ in range(3))
    group = GroupCommand("loadtest", "group-1", b"g", items)
    for replayed in (False, True):
        outcome = await desk.one(group)
        assert isinstance(outcome, GroupPosted)
        assert outcome.replayed is replayed
        assert [one.details for one in outcome.transfers] == [ADA] * 3
    assert (
        await admin.fetchval(
            "SELECT count(*) FROM ledger.transfer_details WHERE sealed IS NOT NULL"
        )
        == 4
    )
    await desk.erase("ada")
    outcome = await desk.one(group)
    assert isinstance(outcome, GroupPosted)
    assert [one.details for one in outcome.transfers] == [Unreadable.ERASED] * 3


async def test_with_the_signer_away_kept_keys_go_on_and_what_needs_no_key_too(
    desk: Desk, signer: DataKeyServer
) -> None:
    _, payer, payee = await desk.core.open(2, owner="ada")
    _, strange, _ = await desk.core.open(2, owner="bob")
    assert shown(await desk.one(detailed(payer, payee))) == ADA
    await signer.stop()
    known, unknown, plain = await desk.submit(
        detailed(payer, payee), detailed(strange, payee, Details(description="x")),
        payment(payer, payee, 5),
    )  # fmt: skip
    assert shown(known) == ADA
    assert shown(plain) is None
    assert isinstance(unknown, Refused)
    assert unknown.error.reason is Reason.SIGNER_UNAVAILABLE
    assert unknown.error.retry_after_ms
    await signer.start()
    again = detailed(strange, payee, Details(description="x"))
    async with asyncio.timeout(60):
        while not isinstance(outcome := await desk.one(again), Posted):
            await asyncio.sleep(0.05)
    assert shown(outcome) == Details(description="x")


async def test_with_the_signer_away_a_replay_tells_that_its_details_cannot_be_had_now(
    desk: Desk, database: OwnDatabase, signer: DataKeyServer
) -> None:
    _, payer, payee = await desk.core.open(2, owner="ada")
    request = detailed(payer, payee)
    first = await desk.one(request)
    async with open_desk(database, signer) as restarted:
        await signer.stop()
        again = await restarted.one(request)
        assert isinstance(again, Posted)
        assert isinstance(first, Posted)
        assert again.transfer == first.transfer
        assert again.details is Unreadable.UNAVAILABLE
        await signer.start()
        async with asyncio.timeout(60):
            while shown(await restarted.one(request)) is Unreadable.UNAVAILABLE:
                await asyncio.sleep(0.05)
        assert shown(await restarted.one(request)) == ADA


async def test_an_account_that_does_not_exist_is_told_and_asks_for_no_key(
    desk: Desk, admin: asyncpg.Connection
) -> None:
    _, payer = await desk.core.open(1, owner="ada")
    outcome = await desk.one(detailed(payer, AccountId(17)))
    assert isinstance(outcome, Refused)
    assert outcome.error.reason is Reason.ACCOUNT_NOT_FOUND
    assert outcome.error.metadata == {"id": "17"}
    assert await admin.fetchval("SELECT count(*) FROM signing.data_keys") == 0


async def test_a_sealed_row_that_was_moved_to_another_transfer_is_not_shown(
    desk: Desk, admin: asyncpg.Connection
) -> None:
    _, payer, payee = await desk.core.open(2, owner="ada")
    requests = [detailed(payer, payee), detailed(payer, payee, Details("ada", description="other"))]
    one, other = [await desk.one(request) for request in requests]
    taken = (await stored(admin, other))["sealed"]
    assert isinstance(one, Posted)
    await admin.execute("ALTER TABLE ledger.transfer_details DISABLE TRIGGER only_sealed")
    await admin.execute(
        "UPDATE ledger.transfer_details SET sealed = $1 WHERE id = $2", taken, one.transfer.id
    )
    assert shown(await desk.one(requests[0])) is Unreadable.UNAVAILABLE
    assert shown(await desk.one(requests[1])) == Details("ada", description="other")


async def test_a_kept_key_is_asked_for_again_after_its_time(
    database: OwnDatabase, signer: DataKeyServer
) -> None:
    clock = ShiftedClock()
    async with open_desk(database, signer, clock) as desk:
        _, payer, payee = await desk.core.open(2, owner="ada")
        assert shown(await desk.one(detailed(payer, payee))) == ADA
        await signer.stop()
        clock.shift_s = KeyLimits().lifetime_s - 5.0
        assert shown(await desk.one(detailed(payer, payee))) == ADA
        clock.shift_s = KeyLimits().lifetime_s
        late = await desk.one(detailed(payer, payee))
        assert isinstance(late, Refused)
        assert late.error.reason is Reason.SIGNER_UNAVAILABLE


async def test_erasing_clears_what_is_told_of_the_subjects_accounts_and_is_audited_each_time(
    desk: Desk, admin: asyncpg.Connection
) -> None:
    await desk.core.open(2, owner="ada", metadata={"name": "Ada"})
    await desk.core.open(1, owner="bob", metadata={"name": "Bob"})
    first, second = [await desk.erase("ada") for _ in range(2)]
    assert (first.destroyed_keys, first.cleared_accounts) == (0, 2)
    assert (second.destroyed_keys, second.cleared_accounts) == (0, 0)
    left = await admin.fetch(
        "SELECT DISTINCT owner FROM ledger.account_details JOIN ledger.accounts USING (id)"
    )
    assert [row["owner"] for row in left] == ["bob"]
    audited = await admin.fetchval(
        "SELECT count(*) FROM ledger.audit WHERE action = 'ERASE_SUBJECT' AND client = 'operator'"
    )
    assert audited == 2


async def test_many_subjects_of_one_request_are_asked_for_together(
    desk: Desk,
) -> None:
    commands: list[TransferCommand] = []
    for number in range(30):
        _, payer, payee = await desk.core.open(2, owner=f"user-{number}")
        commands.append(detailed(payer, payee, Details(description="x")))
    before = _calls()
    outcomes = await desk.submit(*commands)
    assert all(isinstance(outcome, Posted) for outcome in outcomes)
    assert _calls() - before == 1


def _calls() -> float:
    found = REGISTRY.get_sample_value(
        "paycore_calls_total",
        {"method": "paycore.signing.v1.DataKeyService/CreateDataKeys", "reason": "OK"},
    )
    return found or 0.0

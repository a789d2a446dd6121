"""What the store tells of what it holds: payers, used keys, groups, references, and parents."""

from __future__ import annotations

from typing import Any

import asyncpg

from command_service.accounts.commands import AccountStored
from command_service.posting.store import NO_POSITION
from paycore.domain.accounts import AccountId, AccountKind
from paycore.domain.approvals import payment_intent
from paycore.domain.plan import ParentState, StoredGroup
from paycore.domain.step_up import payment_digest
from paycore.domain.transfers import (
    Decline,
    Declined,
    GroupCommand,
    GroupPosted,
    Posted,
    Refused,
    Transfer,
    TransferCommand,
    TransferId,
    TransferKind,
    TransferState,
)
from tests.support.command_core import CLIENT, CommandCore, follow, opening, payment, posted
from tests.support.samples import authorization


def item(debit: AccountId, credit: AccountId, amount: int) -> TransferCommand:
    return payment(debit, credit, amount, key="", request_hash=b"")


async def test_payers_are_told_by_place_and_only_of_keys_without_an_outcome(
    core: CommandCore,
) -> None:
    _, ada, bob = await core.open(2)
    used = payment(ada, bob, 10)
    (outcome,) = posted([await core.one(used)])
    found = await core.store.find_payers(
        [
            ((CLIENT, used.key), ada),
            ((CLIENT, "fresh"), ada),
            ((CLIENT, "nobody's"), AccountId(17)),
            (("app", used.key), bob),
            ((CLIENT, "fresh too"), ada),
        ]
    )
    assert {place: account.id for place, account in found.items()} == {1: ada, 3: bob, 4: ada}
    assert found[1] == found[4]
    assert (found[1].balance, found[1].version) == (990, outcome.transfer.debit_version)
    assert (found[3].balance, found[3].version) == (1_010, outcome.transfer.credit_version)


async def test_used_keys_are_those_of_the_same_client(core: CommandCore) -> None:
    _, ada, bob = await core.open(2)
    moved, declined = payment(ada, bob, 10), payment(ada, bob, 10**9)
    await core.submit(moved, declined)
    asked = {
        (client, key) for client in (CLIENT, "app") for key in (moved.key, declined.key, "fresh")
    }
    assert await core.store.find_used(asked) == {(CLIENT, moved.key), (CLIENT, declined.key)}
    assert await core.store.find_used(set()) == set()


async def test_groups_are_found_with_their_transfers_in_order(core: CommandCore) -> None:
    _, ada, bob, cyd = await core.open(3)
    groups = [
        GroupCommand(
            CLIENT, "one", b"1", (item(ada, bob, 3), item(bob, cyd, 2), item(ada, cyd, 1))
        ),
        GroupCommand(CLIENT, "two", b"2", (item(cyd, ada, 1), item(bob, ada, 1))),
    ]
    first = await core.submit(*groups)
    lone = payment(ada, bob, 7)
    (single,) = posted([await core.one(lone)])
    # One question for groups, a transfer and what is new.
    declined = payment(ada, bob, 10**9)
    again = await core.submit(*reversed(groups), lone, declined)
    assert isinstance(again[3], Declined)
    for outcome, earlier in zip(again[:2], reversed(first), strict=True):
        assert isinstance(outcome, GroupPosted)
        assert isinstance(earlier, GroupPosted)
        assert (outcome.id, outcome.replayed, outcome.position) == (
            earlier.id, True, earlier.position
        )  # fmt: skip
        assert [one.transfer for one in outcome.transfers] == [
            one.transfer for one in earlier.transfers
        ]
    (known,) = posted([again[2]])
    assert (known.transfer, known.replayed, known.position) == (
        single.transfer, True, single.position
    )  # fmt: skip
    found = await core.store.find(CLIENT, "one")
    assert found is not None
    assert isinstance(found.row, StoredGroup)
    assert isinstance(first[0], GroupPosted)
    assert found.row == StoredGroup(
        first[0].id, tuple((one.transfer, None) for one in first[0].transfers)
    )
    assert (found.request_hash, found.details, found.position) == (b"1", None, first[0].position)


async def test_a_decline_is_found_by_its_key_alone_and_among_others(core: CommandCore) -> None:
    _, ada, bob = await core.open(2)
    declined, moved = payment(ada, bob, 10**9), payment(ada, bob, 1)
    first, other = await core.submit(declined, moved)
    assert isinstance(first, Declined)
    assert isinstance(other, Posted)
    for commands in ([declined], [moved, declined]):
        again = (await core.submit(*commands))[-1]
        assert isinstance(again, Declined)
        assert again.replayed
        assert (again.decline, again.position) == (first.decline, first.position)
    found = await core.store.find(CLIENT, declined.key)
    assert found is not None
    assert found.row == first.decline


async def test_a_group_and_each_of_its_transfers_have_the_position_of_their_transaction(
    core: CommandCore,
) -> None:
    _, ada, bob = await core.open(2)
    group = GroupCommand(CLIENT, "one", b"1", (item(ada, bob, 3), item(bob, ada, 2)))
    moved, declined, unknown = (
        payment(ada, bob, 1), payment(ada, bob, 10**9), payment(ada, AccountId(17), 1)
    )  # fmt: skip
    outcomes = await core.submit(group, moved, declined, unknown)
    assert isinstance(outcomes[0], GroupPosted)
    assert isinstance(outcomes[1], Posted)
    assert isinstance(outcomes[2], Declined)
    # Nothing is stored of it, and it has no position.
    assert isinstance(outcomes[3], Refused)
    places = {outcomes[1].position, outcomes[2].position, outcomes[0].position}
    places |= {one.position for one in outcomes[0].transfers}
    assert len(places) == 1
    assert None not in places
    # What was stored before keeps the position that it had.
    later, new = await core.submit(moved, payment(ada, bob, 1))
    assert isinstance(later, Posted)
    assert isinstance(new, Posted)
    assert {later.position} == places
    assert {new.position} != places


async def test_what_a_reference_names_is_told_newest_first_posted_and_declined_alike(
    core: CommandCore,
) -> None:
    _, ada, bob = await core.open(2)
    mine = [
        payment(ada, bob, 1, reference="order-1"),
        payment(ada, bob, 10**9, reference="order-1"),
        payment(ada, bob, 2, reference="order-1"),
    ]
    told = [await core.one(one) for one in mine]
    await core.one(payment(ada, bob, 3, reference="order-2"))
    found = await core.store.find_by_reference(CLIENT, "order-1", most=10)
    rows: list[Transfer | Decline] = []
    for outcome in told:
        assert isinstance(outcome, Posted | Declined)
        rows.append(outcome.transfer if isinstance(outcome, Posted) else outcome.decline)
    assert [one.row for one in found] == rows[::-1]
    assert {(one.request_hash, one.details, one.position) for one in found} == {
        (b"", None, NO_POSITION)
    }
    assert await core.store.find_by_reference(CLIENT, "order-1", most=2) == found[:2]
    assert await core.store.find_by_reference("app", "order-1", most=10) == []
    assert await core.store.find_by_reference(CLIENT, "order-3", most=10) == []


async def test_parents_stand_as_after_the_latest_that_followed_them(core: CommandCore) -> None:
    _, ada, bob = await core.open(2)
    holds = [
        payment(
            ada, bob, amount, kind=TransferKind.HOLD,
            expires_at_us=core.clock.now_us() + 3_600_000_000,
        )
        for amount in (50, 60)
    ]  # fmt: skip
    held, untouched = [one.transfer for one in posted(await core.submit(*holds))]
    for amount in (20, 5):
        posted([await core.one(follow(held, TransferKind.CAPTURE, amount, final=False))])
    found = await core.store.find_parents([held.id, untouched.id, TransferId(17)])
    assert found == {
        held.id: ParentState(held, 2, 25, TransferState.PARTIALLY_CAPTURED),
        untouched.id: ParentState(untouched, 0, 60, TransferState.HELD),
    }


async def test_approvals_of_payments_are_stored_as_they_were_signed(
    core: CommandCore, admin: asyncpg.Connection
) -> None:
    opened = await core.open_accounts(
        [
            opening(client="app", kind=AccountKind.EXTERNAL),
            opening(client="app", owner="ada"),
            opening(client="app"),
        ]
    )
    external, payer, payee = (one.account.id for one in opened if isinstance(one, AccountStored))
    funds = payment(external, payer, 500_000, kind=TransferKind.DEPOSIT, client="app")
    posted([await core.one(funds)])
    now_us = core.clock.now_us()
    times: dict[str, Any] = {
        "issued_at_us": now_us - 2, "signed_at_us": now_us - 3, "expires_at_us": now_us + 60_000_000
    }  # fmt: skip
    asked = payment(payer, payee, 90_000, client="app", key="one")
    digest = payment_digest(payment_intent(asked, times["signed_at_us"]))
    signed = authorization("ada", id=77, digest=digest, **times)
    (outcome,) = posted([await core.one(asked._replace(authorization=signed))])
    assert outcome.transfer.authorization_id == 77
    (row,) = await admin.fetch("SELECT * FROM ledger.authorizations")
    assert dict(row) == {
        "id": 77, "transfer_id": outcome.transfer.id, "group_id": None, "payer": None,
        **times,
        "user_id": "ada", "method": "PIN", "client": "app", "idempotency_key": "one",
        "key_id": "key-1", "digest": digest, "signature": bytes(64),
    }  # fmt: skip

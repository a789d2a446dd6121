"""ListTransfers against an independent model."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from paycore.domain.errors import Reason
from paycore.v1.transfer_pb2 import TransferKind, TransferState
from tests.integration.query_service.calls import Caller, at, named, refused
from tests.integration.query_service.conftest import Index
from tests.integration.query_service.ledger_model import KINDS, Ledger, TransferRow, listed

Connect = Callable[[str], grpc.aio.Channel]


@pytest.fixture
def analyst(connect: Connect) -> Caller:
    return Caller.on(connect("analyst"))


def random_filter(
    rng: random.Random, ledger: Ledger, account: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same filter for the request and for the model."""
    request: dict[str, Any] = {}
    model: dict[str, Any] = {}
    times = sorted(rng.sample([t.created_at_us for t in ledger.transfers], 2))
    if times[0] < times[1] and rng.random() < 0.4:
        model["start_us"], model["end_us"] = times
        request["start_time"], request["end_time"] = map(at, times)
    if rng.random() < 0.4:
        model["kinds"] = tuple(rng.sample(KINDS, rng.randint(1, 3)))
        request["kinds"] = [TransferKind.Value(f"TRANSFER_KIND_{k}") for k in model["kinds"]]
    if rng.random() < 0.3:
        other = rng.choice([a.id for a in ledger.accounts if a.id != account])
        model["counterparty"] = request["counterparty_account_id"] = other
    if rng.random() < 0.4:
        model["low"] = request["min_minor_units"] = rng.choice((0, 3, 2**61, 2**62))
    if rng.random() < 0.4:
        high = max(rng.choice((0, 5, 9, 2**62)), model.get("low", 0))
        model["high"] = request["max_minor_units"] = high
    if rng.random() < 0.3:
        model["reference"] = request["reference"] = rng.choice(("rent", 'a "quoted" one', "none"))
    if rng.random() < 0.5:
        model["declines"] = request["include_declines"] = True
    return request, model


async def test_a_walk_with_any_filter_shows_what_the_model_shows(
    ledger: Ledger, rng: random.Random, index: Index, analyst: Caller
) -> None:
    for _ in range(6):
        ledger.open_account(currency="EUR")
    ledger.move_at_random(600)
    await index.add(ledger.documents())
    for _ in range(30):
        account = rng.choice(ledger.accounts).id
        request, model = random_filter(rng, ledger, account)
        shown = await analyst.walk(account, page_size=rng.choice((9, 50, 500)), **request)
        expected = listed(ledger.transfers, account, **model)
        assert [t.id for t in shown] == expected, model


async def test_pages_hold_fifty_unless_asked_and_the_last_one_has_no_token(
    ledger: Ledger, index: Index, analyst: Caller
) -> None:
    payer, payee = (ledger.open_account(currency="EUR") for _ in range(2))
    for _ in range(100):
        ledger.move(payer, payee, declined=False)
    await index.add(ledger.documents())
    first = await analyst.page(payer.id)
    second = await analyst.page(payer.id, page_token=first.next_page_token)
    assert (len(first.transfers), len(second.transfers)) == (50, 50)
    assert first.next_page_token
    assert second.next_page_token == ""


async def test_a_walk_under_inserts_misses_and_doubles_nothing_that_stood_at_page_one(
    ledger: Ledger, rng: random.Random, index: Index, analyst: Caller
) -> None:
    payer, payee = (ledger.open_account(currency="EUR") for _ in range(2))
    for _ in range(300):
        ledger.move(payer, payee, declined=False)
    await index.add(ledger.documents())
    standing = listed(ledger.transfers, payer.id)

    async def insert_newer_and_as_new() -> None:
        newest = max(t.created_at_us for t in ledger.transfers)
        new = [
            ledger.move(payer, payee, declined=False, created_at_us=newest + rng.randint(0, 5))
            for _ in range(20)
        ]
        await index.add(row.document() for row in new)

    shown = await analyst.walk(payer.id, between=insert_newer_and_as_new, page_size=25)
    assert [t.id for t in shown] == standing
    # Later inserts stand above page one, which the next walk begins with.
    again = await analyst.walk(payer.id, page_size=500)
    assert [t.id for t in again] == listed(ledger.transfers, payer.id)
    assert len(again) == len(standing) + 20 * 11


async def test_the_fields_of_a_transfer_are_those_of_the_ledger(
    ledger: Ledger, index: Index, analyst: Caller
) -> None:
    payer, payee = (ledger.open_account(currency="JPY") for _ in range(2))
    row = ledger.move(
        payer,
        payee,
        declined=False,
        amount=2**62 + 1,
        created_at_us=ledger.start_us + 1,
        kind="WITHDRAWAL",
        reference="rent",
        metadata={"order": "17", "a.b": "c"},
        user_id="u-1",
        description="for May",
        debit_balance_after=-(2**63),
        credit_balance_after=2**63 - 1,
    )
    await index.add(ledger.documents())
    by_id = (await analyst.transfer(row.id)).transfer
    (on_page,) = (await analyst.page(payee.id)).transfers
    assert by_id == on_page
    assert (by_id.id, by_id.debit_account_id, by_id.credit_account_id) == (
        row.id,
        payer.id,
        payee.id,
    )
    assert (by_id.amount.minor_units, by_id.amount.currency) == (2**62 + 1, "JPY")
    assert TransferKind.Name(by_id.kind) == "TRANSFER_KIND_WITHDRAWAL"
    assert by_id.create_time == at(row.created_at_us)
    assert by_id.debit_balance_after == -(2**63)
    assert by_id.credit_balance_after == 2**63 - 1
    assert dict(by_id.metadata) == {"order": "17", "a.b": "c"}
    assert (by_id.reference, by_id.description, by_id.actor.user_id) == ("rent", "for May", "u-1")
    assert not by_id.HasField("decline")
    assert not by_id.HasField("effective_time")


async def test_a_hold_and_what_follows_it_say_how_they_stand(
    ledger: Ledger, index: Index, analyst: Caller
) -> None:
    payer, payee = (ledger.open_account(currency="EUR") for _ in range(2))
    latest = {"parent_sequence": 2, "parent_remaining": 0, "parent_state": "CAPTURED"}
    hold = ledger.move(
        payer,
        payee,
        declined=False,
        kind="HOLD",
        created_at_us=ledger.start_us,
        debit_held_after=900,
        expires_at_us=ledger.start_us + 7_000_001,
        group_id=77,
        latest=latest,
    )
    capture = ledger.move(
        payer,
        payee,
        declined=False,
        kind="CAPTURE",
        created_at_us=ledger.start_us + 1,
        following={**latest, "parent_id": hold.id, "released": 30},
    )
    await index.add(ledger.documents())
    by_id = [(await analyst.transfer(one.id)).transfer for one in (capture, hold)]
    assert by_id == await analyst.walk(payer.id) == await analyst.walk(payee.id)
    child, parent = by_id
    assert TransferState.Name(parent.state) == "TRANSFER_STATE_CAPTURED"
    assert (parent.HasField("remaining_minor_units"), parent.remaining_minor_units) == (True, 0)
    assert (parent.debit_held_after, parent.group_id) == (900, 77)
    assert parent.expire_time == at(ledger.start_us + 7_000_001)
    assert (parent.debit_version, parent.credit_version) == (1, 0)
    assert not parent.HasField("credit_balance_after")
    assert (parent.parent_id, parent.parent_state) == (0, 0)
    assert TransferState.Name(child.state) == "TRANSFER_STATE_POSTED"
    assert TransferState.Name(child.parent_state) == "TRANSFER_STATE_CAPTURED"
    assert (child.parent_id, child.parent_sequence) == (hold.id, 2)
    assert child.HasField("parent_remaining_minor_units")
    assert (child.parent_remaining_minor_units, child.released_minor_units) == (0, 30)
    assert not child.HasField("remaining_minor_units")
    assert not child.HasField("expire_time")


async def test_a_decline_names_what_it_was_to_follow(
    ledger: Ledger, index: Index, analyst: Caller
) -> None:
    payer, payee = (ledger.open_account(currency="EUR") for _ in range(2))
    declined = ledger.move(
        payer, payee, declined=True, kind="CAPTURE", group_id=8, following={"parent_id": 9}
    )
    await index.add(ledger.documents())
    shown = (await analyst.transfer(declined.id)).transfer
    assert (shown.parent_id, shown.group_id, shown.parent_sequence) == (9, 8, 0)


async def test_a_stored_decline_is_listed_for_its_payer_only_and_only_when_asked(
    ledger: Ledger, index: Index, analyst: Caller
) -> None:
    payer, payee = (ledger.open_account(currency="EUR") for _ in range(2))
    declined = ledger.move(payer, payee, declined=True)
    await index.add(ledger.documents())
    assert [t.id for t in await analyst.walk(payer.id)] == []
    assert [t.id for t in await analyst.walk(payee.id, include_declines=True)] == []
    (shown,) = await analyst.walk(payer.id, include_declines=True)
    assert shown.id == declined.id
    assert shown.decline.reason == "INSUFFICIENT_FUNDS"
    assert dict(shown.decline.metadata) == {"available": "3"}
    assert not shown.HasField("debit_balance_after")


@pytest.fixture
async def token_and_account(
    ledger: Ledger, index: Index, analyst: Caller
) -> tuple[str, TransferRow]:
    """The token after the first page of an account's list, and one of the transfers."""
    payer, payee = (
        ledger.open_account(currency="EUR", opened_by="app", institution="north") for _ in range(2)
    )
    for _ in range(3):
        ledger.move(payer, payee, declined=False)
    await index.add(ledger.documents())
    reply = await analyst.page(payer.id, page_size=1)
    return reply.next_page_token, ledger.transfers[0]


async def test_a_token_altered_in_any_character_is_refused(
    token_and_account: tuple[str, TransferRow], analyst: Caller
) -> None:
    token, transfer = token_and_account
    altered = [
        token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        for place in range(len(token))
    ]
    for wrong in [*altered, token[:-1], token + "A", token + "====", "é" * len(token), " "]:
        error = await refused(analyst.page(transfer.debit.id, page_token=wrong))
        assert (error.reason, named(error)) == (Reason.INVALID_FIELD, {"page_token"}), wrong
    assert (await analyst.page(transfer.debit.id, page_token=token)).transfers


async def test_a_token_is_good_only_for_its_filter_and_its_client(
    token_and_account: tuple[str, TransferRow], analyst: Caller, connect: Connect
) -> None:
    token, transfer = token_and_account
    account = transfer.debit.id
    others: list[dict[str, Any]] = [
        {"include_declines": True},
        {"kinds": [1]},
        {"min_minor_units": 0},
        {"max_minor_units": 2**62},
        {"reference": "rent"},
        {"counterparty_account_id": transfer.credit.id},
        {"start_time": at(1)},
        {"end_time": at(2**50)},
    ]
    for changed in others:
        error = await refused(analyst.page(account, page_token=token, **changed))
        assert named(error) == {"page_token"}, changed
    error = await refused(analyst.page(transfer.credit.id, page_token=token))
    assert named(error) == {"page_token"}
    error = await refused(Caller.on(connect("app")).page(account, page_token=token))
    assert named(error) == {"page_token"}
    assert len((await analyst.page(account, page_token=token, page_size=2)).transfers) == 2

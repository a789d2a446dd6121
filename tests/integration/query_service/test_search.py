"""SearchTransfers against an independent model, and what it must not tell."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from paycore.domain.errors import Reason
from paycore.domain.position import Position
from paycore.v1 import history_service_pb2 as history
from paycore.v1 import transfer_pb2
from paycore.v1.transfer_pb2 import Transfer
from tests.integration.query_service.calls import TIMEOUT_S, Caller, at, named, refused
from tests.integration.query_service.conftest import Index
from tests.integration.query_service.ledger_model import CLIENTS, AccountRow, Ledger, TransferRow

Connect = Callable[[str], grpc.aio.Channel]

WORDS = ("rent", "Rental", "May", "june", "café", "4711")
REFERENCES = (None, "invoice-4711", "rent", "ORDER 17")
METADATA: tuple[dict[str, str] | None, ...] = (
    None,
    {"order": "17"},
    {"order": "17", "shop.id": "a b"},
    {"order": "18", "*": "wild"},
)


async def search(caller: Caller, **fields: Any) -> history.SearchTransfersResponse:
    request = history.SearchTransfersRequest(**fields)
    reply: history.SearchTransfersResponse = await caller.history.SearchTransfers(
        request, timeout=TIMEOUT_S
    )
    return reply


async def walk(caller: Caller, **fields: Any) -> list[Transfer]:
    found: list[Transfer] = []
    token = ""
    while True:
        reply = await search(caller, page_token=token, **fields)
        found += reply.transfers
        token = reply.next_page_token
        if not token:
            return found


def during(ledger: Ledger) -> dict[str, Any]:
    """The time of this test's own transfers: others share the index."""
    return {
        "start_time": at(ledger.start_us),
        "end_time": at(ledger.start_us + ledger.duration_us),
    }


def fill(ledger: Ledger, count: int) -> None:
    pick = ledger.random
    for client in CLIENTS:
        # Each caller has one to read, whatever the seed.
        ledger.open_account(opened_by=client)
    for _ in range(8 - len(CLIENTS)):
        ledger.open_account()
    for _ in range(count):
        debit, credit = pick.sample(ledger.accounts, 2)
        ledger.move(
            debit,
            credit,
            description=" ".join(pick.choices(WORDS, k=pick.randint(0, 3))) or None,
            reference=pick.choice(REFERENCES),
            metadata=pick.choice(METADATA),
        )


READS: dict[str, Callable[[AccountRow], bool]] = {
    "analyst": lambda _: True,
    "app": lambda account: account.opened_by == "app",
    # With a grant of its own in these tests.
    "loadtest": lambda account: account.opened_by == "loadtest" or account.institution == "north",
}


def may_see(caller: str, row: TransferRow) -> bool:
    reads = READS[caller]
    return reads(row.debit) or row.client == caller or (reads(row.credit) and not row.declined)


def may_see_metadata(caller: str, row: TransferRow) -> bool:
    return READS[caller](row.debit) or row.client == caller


def expected(ledger: Ledger, rule: Callable[[TransferRow], bool]) -> list[int]:
    rows = [row for row in ledger.transfers if rule(row)]
    rows.sort(key=lambda row: (row.created_at_us, row.id), reverse=True)
    return [row.id for row in rows]


def texts(row: TransferRow) -> list[set[str]]:
    split = [(row.description or ""), (row.reference or "").replace("-", " ")]
    return [set(text.lower().split()) for text in split]


def has(row: TransferRow, word: str, *, beginning: bool) -> bool:
    return any(
        any(one.startswith(word) if beginning else one == word for one in words)
        for words in texts(row)
    )


@pytest.mark.parametrize("caller", sorted(READS))
async def test_what_is_found_is_what_the_model_finds(
    ledger: Ledger, index: Index, connect: Connect, caller: str, rng: random.Random
) -> None:
    fill(ledger, 400)
    await index.add(ledger.documents())
    service, time = Caller.on(connect(caller)), during(ledger)

    def shown(rule: Callable[[TransferRow], bool], *, declines: bool = False) -> list[int]:
        return expected(
            ledger,
            lambda row: may_see(caller, row) and (declines or not row.declined) and rule(row),
        )

    readable = [account for account in ledger.accounts if READS[caller](account)]
    account = rng.choice(readable)
    asked: list[tuple[dict[str, Any], list[int]]] = [
        ({}, shown(lambda _: True)),
        ({"include_declines": True}, shown(lambda _: True, declines=True)),
        ({"text": "RENT"}, shown(lambda row: has(row, "rent", beginning=True))),
        ({"text": "re"}, shown(lambda row: has(row, "re", beginning=False))),
        (
            {"text": "rent caf"},
            shown(
                lambda row: has(row, "rent", beginning=False) and has(row, "caf", beginning=True)
            ),
        ),
        ({"text": "rent*"}, shown(lambda row: has(row, "rent", beginning=True))),
        ({"text": "invoice-4711"}, shown(lambda row: row.reference == "invoice-4711")),
        (
            {"text": "june", "min_minor_units": 5, "max_minor_units": 2**61 + 2**60},
            shown(
                lambda row: has(row, "june", beginning=True) and 5 <= row.amount <= 2**61 + 2**60
            ),
        ),
        (
            {"currency": "JPY", "kinds": [transfer_pb2.TRANSFER_KIND_HOLD]},
            shown(lambda row: row.debit.currency == "JPY" and row.kind == "HOLD"),
        ),
        ({"account_id": account.id}, shown(lambda row: row.touches(account.id))),
    ]
    for pairs in ({"order": "17"}, {"order": "17", "shop.id": "a b"}, {"*": "wild"}):
        asked.append(
            (
                {"metadata": pairs, "include_declines": True},
                shown(
                    lambda row, pairs=pairs: (  # type: ignore[misc]
                        may_see_metadata(caller, row)
                        and pairs.items() <= (row.metadata or {}).items()
                    ),
                    declines=True,
                ),
            )
        )
    for fields, ids in asked:
        size = rng.choice((7, 50, 500))
        found = await walk(service, **{**time, **fields}, page_size=size)
        assert [one.id for one in found] == ids, fields
    # Not all of it was empty.
    assert sum(map(bool, (ids for _, ids in asked))) >= len(asked) - 2


@pytest.mark.parametrize(
    "pairs", [{"*": "17"}, {"order": "1*"}, {"order": "17 OR 18"}, {"or*": "17"}]
)
async def test_nothing_of_a_caller_is_read_as_a_query(
    ledger: Ledger, index: Index, connect: Connect, pairs: dict[str, str]
) -> None:
    one, other = ledger.open_account(currency="EUR"), ledger.open_account(currency="EUR")
    ledger.move(one, other, declined=False, metadata={"order": "17"}, description="rent")
    await index.add(ledger.documents())
    analyst = Caller.on(connect("analyst"))
    assert not await walk(analyst, **during(ledger), metadata=pairs)
    for text in ("*ent", "r?nt", "rent OR may", "description:rent", "/r.nt/", "_exists_:metadata"):
        assert not await walk(analyst, **during(ledger), text=text), text


async def test_what_is_hidden_from_a_caller_finds_nothing_for_it(
    ledger: Ledger, index: Index, connect: Connect
) -> None:
    payer = ledger.open_account(currency="EUR", opened_by="app", institution="west")
    payee = ledger.open_account(currency="EUR", opened_by="loadtest", institution="west")
    private = {"user_id": "u-9", "metadata": {"flat": "4b"}, "description": "rent for May"}
    paid = ledger.move(payer, payee, client="app", declined=False, **private)
    declined = ledger.move(payer, payee, client="app", declined=True, **private)
    await index.add(ledger.documents())
    app, loadtest = Caller.on(connect("app")), Caller.on(connect("loadtest"))
    time = during(ledger)
    flat = {"flat": "4b"}
    assert [one.id for one in await walk(app, **time, metadata=flat)] == [paid.id]
    assert not await walk(loadtest, **time, metadata=flat)
    assert not await walk(loadtest, **time, metadata=flat, account_id=payee.id)
    # What is shown may be searched, and shows no more than a list.
    (shown,) = await walk(loadtest, **time, text="rent may")
    assert (shown.id, dict(shown.metadata), shown.HasField("actor")) == (paid.id, {}, False)
    for hidden in ("u-9", "4b", "flat"):
        assert not await walk(loadtest, **time, text=hidden)
    everything = {**time, "include_declines": True, "text": "rent"}
    assert {one.id for one in await walk(app, **everything)} == {paid.id, declined.id}
    assert {one.id for one in await walk(loadtest, **everything)} == {paid.id}
    counted = await search(loadtest, **time, metadata=flat, include_total=True)
    assert (counted.total.count, counted.total.at_least) == (0, False)


async def test_totals_are_counted_where_asked_for(
    ledger: Ledger, index: Index, connect: Connect
) -> None:
    fill(ledger, 120)
    await index.add(ledger.documents())
    analyst, time = Caller.on(connect("analyst")), during(ledger)
    posted = sum(not row.declined for row in ledger.transfers)
    first = await search(analyst, **time, page_size=10, include_total=True)
    assert (first.total.count, first.total.at_least) == (posted, False)
    assert not (await search(analyst, **time)).HasField("total")
    second = await search(
        analyst, **time, page_size=10, include_total=True, page_token=first.next_page_token
    )
    assert second.total.count == posted


async def test_counting_ends(ledger: Ledger, index: Index, connect: Connect) -> None:
    one, other = ledger.open_account(currency="EUR"), ledger.open_account(currency="EUR")
    for _ in range(10_001):
        ledger.move(one, other, declined=False)
    await index.add(ledger.documents())
    reply = await search(Caller.on(connect("analyst")), **during(ledger), include_total=True)
    assert (reply.total.count, reply.total.at_least) == (10_000, True)


async def test_pages_are_stable_while_transfers_are_added(
    ledger: Ledger, index: Index, connect: Connect
) -> None:
    fill(ledger, 60)
    await index.add(ledger.documents())
    analyst = Caller.on(connect("analyst"))
    time = during(ledger)
    ids = expected(ledger, lambda row: not row.declined)
    first = await search(analyst, **time, page_size=20)
    later = ledger.move(
        *ledger.accounts[:2],
        declined=False,
        created_at_us=ledger.start_us + ledger.duration_us - 1,
    )
    await index.add([later.document()])
    found = [one.id for one in first.transfers]
    token = first.next_page_token
    while token:
        page = await search(analyst, **time, page_size=20, page_token=token)
        found += [one.id for one in page.transfers]
        token = page.next_page_token
    assert found == ids


async def test_a_token_is_good_for_its_search_alone(
    ledger: Ledger, index: Index, connect: Connect
) -> None:
    fill(ledger, 60)
    await index.add(ledger.documents())
    analyst, time = Caller.on(connect("analyst")), during(ledger)
    token = (await search(analyst, **time, page_size=5)).next_page_token
    for caller, fields in (
        (analyst, {"text": "rent"}),
        (analyst, {"metadata": {"order": "17"}}),
        (analyst, {"currency": "EUR"}),
        (analyst, {"include_declines": True}),
        (Caller.on(connect("operator")), {}),
    ):
        error = await refused(search(caller, **{**time, **fields}, page_token=token))
        assert named(error) == {"page_token"}
    of_a_list = (await analyst.page(ledger.accounts[0].id, page_size=1)).next_page_token
    error = await refused(search(analyst, account_id=ledger.accounts[0].id, page_token=of_a_list))
    assert named(error) == {"page_token"}


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"text": "x" * 201}, "text"),
        ({"text": " ".join("abcdefghijk")}, "text"),
        ({"text": "rent ***"}, "text"),
        ({"text": "re\0nt"}, "text"),
        ({"metadata": {str(n): "x" for n in range(6)}}, "metadata"),
        ({"metadata": {"": "x"}}, "metadata"),
        ({"metadata": {"k": "x" * 1_024}}, "metadata"),
        ({"metadata": {"k": "\0"}}, "metadata"),
        ({"counterparty_account_id": 5}, "counterparty_account_id"),
        ({"account_id": 5, "counterparty_account_id": 5}, "counterparty_account_id"),
        ({"account_id": -5}, "account_id"),
        ({"min_minor_units": -1}, "min_minor_units"),
        ({"min_minor_units": 5, "max_minor_units": 4}, "max_minor_units"),
        ({"kinds": [99]}, "kinds[0]"),
        ({"currency": "eur"}, "currency"),
        ({"page_size": 501}, "page_size"),
        ({"page_token": "x"}, "page_token"),
        ({"min_position": "x"}, "min_position"),
        ({"start_time": at(5), "end_time": at(5)}, "end_time"),
    ],
)
async def test_what_is_out_of_bounds_is_named(
    connect: Connect, fields: dict[str, Any], wrong: str
) -> None:
    error = await refused(search(Caller.on(connect("analyst")), **fields))
    assert error.reason is Reason.INVALID_FIELD
    assert named(error) == {wrong}


async def test_an_account_needs_a_grant_to_be_searched(
    ledger: Ledger, index: Index, connect: Connect
) -> None:
    foreign = ledger.open_account(opened_by="elsewhere", institution="west")
    await index.add(ledger.documents())
    error = await refused(search(Caller.on(connect("app")), account_id=foreign.id))
    assert error.reason is Reason.NOT_PERMITTED
    assert (await refused(search(Caller.on(connect("stranger"))))).reason is Reason.NOT_PERMITTED


async def test_a_position_that_is_not_reached_is_refused(connect: Connect) -> None:
    far = Position(2**31, 1, 1).encode()
    request = history.SearchTransfersRequest(min_position=far)
    call = Caller.on(connect("analyst")).history.SearchTransfers(request, timeout=1.0)
    assert (await refused(call)).reason is Reason.INDEX_BEHIND

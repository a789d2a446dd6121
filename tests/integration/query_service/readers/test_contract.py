"""What every reader of history must do, asked of each on the same random ledger."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.position import Position
from paycore.domain.transfers import TransferId, TransferKind, TransferState
from paycore.runtime.clock import SystemClock
from query_service.readers import port
from query_service.readers.elastic import requests as elastic_requests
from query_service.readers.port import (
    HistoryReader,
    PageKey,
    StatementFilter,
    StatementPlace,
    TransferFilter,
)
from query_service.readers.postgres import reader as postgres_reader
from query_service.readers.records import EntryRecord, TransferRecord
from query_service.statements import fault
from tests.integration.query_service.readers import oracle
from tests.integration.query_service.readers.conftest import World, missing, terms
from tests.support.seeds import rounds

FILTERS = rounds("PAYCORE_HISTORY_FILTERS", 60)
NO_ACCOUNT = AccountId(7)
NOTHING_MOVED = ("HOLD", "RELEASE")


async def walk(
    reader: HistoryReader, wanted: TransferFilter, page_size: int
) -> list[TransferRecord]:
    """Every transfer of a list, page by page."""
    found: list[TransferRecord] = []
    after: PageKey | None = None
    while True:
        page = (await reader.transfers(wanted, after, page_size, terms())).value
        assert len(page) <= page_size
        found += page
        if len(page) < page_size:
            return found
        after = PageKey(page[-1].created_at_us, page[-1].id)


async def whole_statement(
    reader: HistoryReader, wanted: StatementFilter, page_size: int
) -> tuple[int, list[EntryRecord]]:
    """Opening and all entries; each page must begin with the balance of the one before."""
    opening: int | None = None
    found: list[EntryRecord] = []
    after: StatementPlace | None = None
    while True:
        page = (await reader.statement(wanted, after, page_size, terms())).value
        opening = page.opening if opening is None else opening
        if after is not None:
            assert page.opening == after.balance
        found += page.entries
        if len(page.entries) < page_size:
            return opening, found
        last = page.entries[-1]
        after = StatementPlace(last.version, last.created_at_us, last.balance_after)


def moments(entries: Sequence[oracle.Entry]) -> list[int]:
    """Times before, at, between and after entries."""
    times = {one.created_at_us for one in entries}
    return sorted({1, *(time + step for time in times for step in (-1, 0, 1))})


def random_filter(chance: random.Random, world: World, times: Sequence[int]) -> TransferFilter:
    """A filter in which each part is there or not, with values that meet rows."""

    def maybe(value: Any) -> Any:
        return value if chance.random() < 0.3 else None

    account, other = chance.sample(world.accounts, 2)
    start_us, end_us = sorted((chance.choice(times), chance.choice(times)))
    low, high = sorted((chance.randint(1, 300), chance.randint(1, 2_000)))
    kinds = chance.sample(list(TransferKind), chance.randint(1, 4))
    return TransferFilter(
        account=AccountId(account),
        start_us=maybe(start_us),
        end_us=maybe(end_us + 1),
        kinds=frozenset(maybe(kinds) or ()),
        counterparty=AccountId(other) if chance.random() < 0.2 else None,
        min_amount=maybe(low),
        max_amount=maybe(high),
        reference=maybe("rent"),
        include_declines=chance.random() < 0.5,
    )


async def all_times(world: World) -> list[int]:
    rows = await world.admin.fetch("SELECT DISTINCT created_at_us FROM ledger.transfers")
    return [row[0] + step for row in rows for step in (0, 1)]


async def test_what_happened_in_the_program_is_worth_reading(world: World) -> None:
    assert await missing(world) == []


async def test_lists_are_those_of_the_tables_in_pages_of_any_size(
    world: World, reader: HistoryReader, rng: random.Random
) -> None:
    times = await all_times(world)
    for _ in range(FILTERS):
        wanted = random_filter(rng, world, times)
        expected = await oracle.listed(world.admin, wanted)
        found = await walk(reader, wanted, rng.choice((1, 2, 3, 7, 50, 500)))
        assert [record.id for record in found] == expected, wanted


async def test_a_total_is_the_number_of_rows_of_the_whole_list(
    world: World, reader: HistoryReader, rng: random.Random
) -> None:
    times = await all_times(world)
    for _ in range(FILTERS):
        wanted = random_filter(rng, world, times)
        expected = await oracle.listed(world.admin, wanted)
        assert (await reader.total(wanted, terms())).value == (len(expected), False), wanted


@pytest.mark.parametrize("declines", [False, True])
async def test_counting_ends_where_it_is_said_to(
    world: World, reader: HistoryReader, monkeypatch: pytest.MonkeyPatch, declines: bool
) -> None:
    wanted = await longest(world, declines=declines)
    count = len(await oracle.listed(world.admin, wanted))
    for most, told in (
        (count - 1, (count - 1, True)),
        (count, (count, False)),
        (count + 1, (count, False)),
    ):
        for module in (port, postgres_reader, elastic_requests):
            monkeypatch.setattr(module, "MAX_TOTAL", most)
        assert (await reader.total(wanted, terms())).value == told


async def longest(world: World, *, declines: bool) -> TransferFilter:
    """The list with the most rows."""
    lists = [
        TransferFilter(AccountId(account), include_declines=declines) for account in world.accounts
    ]
    lengths = [len(await oracle.listed(world.admin, wanted)) for wanted in lists]
    return lists[lengths.index(max(lengths))]


async def test_an_account_is_as_it_stands(world: World, reader: HistoryReader) -> None:
    for account in world.accounts:
        row = await world.admin.fetchrow("SELECT * FROM ledger.accounts WHERE id = $1", account)
        assert row is not None
        found = (await reader.account(AccountId(account), terms())).value
        assert found is not None
        for name in ("id", "currency", "opened_by", "institution", "balance", "held",
                     "overdraft_limit", "version"):  # fmt: skip
            assert getattr(found, name) == row[name]


async def test_a_transfer_says_what_became_of_it(world: World, reader: HistoryReader) -> None:
    for number, transfer in world.program.names.transfers.items():
        found = (await reader.transfer(TransferId(transfer), terms())).value
        assert found is not None
        books = world.program.model.books
        movement = books.movements[number - 1]
        assert (found.id, found.kind) == (transfer, movement.kind)
        assert found.state == books.state(movement)
        if found.state is TransferState.HELD:
            assert found.remaining == found.amount


async def test_what_is_not_there_is_not_found(world: World, reader: HistoryReader) -> None:
    assert (await reader.account(NO_ACCOUNT, terms())).value is None
    assert (await reader.transfer(TransferId(7), terms())).value is None
    wanted = TransferFilter(account=NO_ACCOUNT, include_declines=True)
    assert (await reader.transfers(wanted, None, 10, terms())).value == []
    past = (await reader.balance_at(NO_ACCOUNT, 2**60, terms())).value
    assert past == (0, 0, 0)


async def test_a_balance_at_a_time_is_that_of_the_last_entry(
    world: World, reader: HistoryReader, rng: random.Random
) -> None:
    for account in world.accounts:
        entries = await oracle.entries(world.admin, account)
        times = moments(entries)
        for at_us in [times[0], times[-1], *rng.sample(times, min(len(times), 12))]:
            upto = [one for one in entries if one.created_at_us <= at_us]
            expected = (0, 0, 0)
            if upto:
                expected = (upto[-1].version, upto[-1].balance_after, upto[-1].held)
            found = (await reader.balance_at(AccountId(account), at_us, terms())).value
            assert found == expected, (account, at_us)


async def test_statements_balance_and_leave_nothing_out(
    world: World, reader: HistoryReader, rng: random.Random
) -> None:
    for account in world.accounts:
        entries = await oracle.entries(world.admin, account)
        times = moments(entries)
        for _ in range(6):
            start_us, end_us = sorted((rng.choice(times), rng.choice(times) + 1))
            with_holds = rng.random() < 0.5
            wanted = StatementFilter(AccountId(account), start_us, end_us, with_holds)
            opening, found = await whole_statement(reader, wanted, rng.choice((1, 2, 5, 500)))
            before = [one for one in entries if one.created_at_us < start_us]
            expected = [
                one
                for one in entries
                if start_us <= one.created_at_us < end_us
                and (with_holds or one.kind not in NOTHING_MOVED)
            ]
            assert opening == (before[-1].balance_after if before else 0)
            assert [
                (one.version, one.transfer, one.change, one.balance_after) for one in found
            ] == [(one.version, one.transfer, one.change, one.balance_after) for one in expected]
            assert opening + sum(one.change for one in found) == (
                found[-1].balance_after if found else opening
            )


async def test_a_reply_says_its_source_and_that_it_has_everything(
    world: World, reader: HistoryReader, request: pytest.FixtureRequest
) -> None:
    last = await world.catch_up()
    answer = await reader.account(AccountId(world.accounts[0]), terms(last))
    assert answer.freshness.source == request.node.callspec.params["reader"]
    assert answer.freshness.position is not None
    assert answer.freshness.position >= last
    assert answer.freshness.lag_us is not None
    assert answer.freshness.lag_us >= 0


async def test_a_position_that_is_not_there_is_waited_for_and_then_refused(
    world: World, reader: HistoryReader
) -> None:
    last = await world.last_position()
    for wanted in (
        Position(last.epoch, last.xid, last.journal_id + 1),
        Position(last.epoch, last.xid + 1_000_000, 1),
        Position(last.epoch + 1, 1, 1),
    ):
        asked = terms(wanted, within_s=0.8)
        with pytest.raises(PaycoreError) as caught:
            await reader.account(AccountId(world.accounts[0]), asked)
        assert caught.value.reason is Reason.INDEX_BEHIND
        assert SystemClock().monotonic_s() < asked.deadline_s, "the refusal came too late"


async def test_a_position_of_a_replaced_history_is_refused(
    world: World, reader: HistoryReader
) -> None:
    await world.catch_up()
    last = await world.last_position()
    with pytest.raises(PaycoreError) as caught:
        await reader.account(
            AccountId(world.accounts[0]), terms(Position(last.epoch - 1, last.xid, 1))
        )
    assert caught.value.reason is Reason.INVALID_FIELD


async def test_a_whole_statement_has_no_fault(world: World, reader: HistoryReader) -> None:
    for account in world.accounts:
        wanted = StatementFilter(AccountId(account), 1, 2**60, include_holds=True)
        page = (await reader.statement(wanted, None, 10_000, terms())).value
        assert fault(page, 0, gap_free=True) is None

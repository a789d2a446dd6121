"""Reading one's own write: `min_position` and what replies say of their freshness."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.position import Position
from paycore.v1 import history_service_pb2
from tests.integration.query_service.calls import Caller, named, refused
from tests.integration.query_service.conftest import Index
from tests.integration.query_service.ledger_model import AccountRow, Ledger

Connect = Callable[[str], grpc.aio.Channel]
EPOCH = 7


@pytest.fixture
def analyst(connect: Connect) -> Caller:
    return Caller.on(connect("analyst"))


@pytest.fixture
async def reached(index: Index) -> Position:
    """Where the index stands; each test begins further on."""
    position = Position(EPOCH, time.time_ns() // 1_000, 5)
    await index.store_position(position, time.time_ns() // 1_000)
    return position


@pytest.fixture
def accounts(ledger: Ledger) -> tuple[AccountRow, AccountRow]:
    return ledger.open_account(currency="EUR"), ledger.open_account(currency="EUR")


def later(position: Position, xids: int = 0, ids: int = 0) -> Position:
    return Position(position.epoch, position.xid + xids, position.journal_id + ids)


async def test_a_call_waits_for_its_write_and_then_shows_it(
    reached: Position,
    ledger: Ledger,
    accounts: tuple[AccountRow, AccountRow],
    index: Index,
    analyst: Caller,
) -> None:
    row = ledger.move(*accounts, declined=False)
    wanted = later(reached, xids=1)

    async def project_late() -> None:
        await asyncio.sleep(0.4)
        await index.add(ledger.documents())
        await index.store_position(wanted, time.time_ns() // 1_000)

    projection = asyncio.create_task(project_late())
    started = time.monotonic()
    token = wanted.encode()
    answers: Any = await asyncio.gather(
        analyst.transfer(row.id, min_position=token),
        analyst.balance(row.debit.id, min_position=token),
        analyst.page(row.debit.id, min_position=token),
        analyst.counterparties(row.debit.id, min_position=token),
        analyst.volume(
            ledger.start_us, ledger.start_us + ledger.duration_us, interval=3, min_position=token
        ),
        analyst.kinds(account_id=row.debit.id, min_position=token),
        analyst.institutions(min_position=token),
        analyst.activity(row.debit.id, 0, 60_000_000, interval=1, min_position=token),
        analyst.declines(account_id=row.debit.id, min_position=token),
        analyst.latencies(min_position=token),
    )
    took_s = time.monotonic() - started
    await projection
    assert took_s >= 0.4
    assert answers[0].transfer.id == row.id
    assert answers[2].transfers[0].id == row.id
    for answer in answers:
        assert answer.freshness.source == "elasticsearch"
        assert Position.decode(answer.freshness.position) >= wanted


async def test_what_is_reached_is_not_waited_for(
    reached: Position,
    ledger: Ledger,
    accounts: tuple[AccountRow, AccountRow],
    index: Index,
    analyst: Caller,
) -> None:
    await index.add(ledger.documents())
    account = accounts[0].id
    await analyst.balance(account, min_position=reached.encode())
    for wanted in (reached, later(reached, xids=-1, ids=9), later(reached, ids=-1)):
        reply = await analyst.balance(account, min_position=wanted.encode())
        assert reply.freshness.position == reached.encode()


@pytest.mark.parametrize(("xids", "ids"), [(1, 0), (0, 1), (1, -5)])
async def test_the_index_behind_is_told_shortly_before_the_deadline(
    reached: Position,
    accounts: tuple[AccountRow, AccountRow],
    analyst: Caller,
    xids: int,
    ids: int,
) -> None:
    wanted = later(reached, xids, ids)
    started = time.monotonic()
    error = await refused(
        analyst.balance(accounts[0].id, timeout=1.5, min_position=wanted.encode())
    )
    took_s = time.monotonic() - started
    assert error.reason is Reason.INDEX_BEHIND
    assert error.retry_after_ms is not None
    assert error.metadata == {"position": reached.encode()}
    assert took_s > 1.0


async def test_a_position_of_a_later_epoch_is_never_taken_for_reached(
    reached: Position, accounts: tuple[AccountRow, AccountRow], analyst: Caller
) -> None:
    wanted = Position(EPOCH + 1, 1, 1).encode()
    error = await refused(analyst.balance(accounts[0].id, timeout=1.5, min_position=wanted))
    assert error.reason is Reason.INDEX_BEHIND


async def test_a_position_of_a_replaced_history_is_refused_at_once(
    reached: Position, accounts: tuple[AccountRow, AccountRow], analyst: Caller
) -> None:
    # After a wait in the present epoch the service has certainly read it.
    await refused(
        analyst.balance(accounts[0].id, timeout=3.0, min_position=later(reached, xids=1).encode())
    )
    wanted = Position(EPOCH - 1, 1, 1).encode()
    error = await refused(analyst.balance(accounts[0].id, min_position=wanted))
    assert (error.reason, named(error)) == (Reason.INVALID_FIELD, {"min_position"})


async def test_replies_say_how_old_their_position_is(
    index: Index,
    ledger: Ledger,
    accounts: tuple[AccountRow, AccountRow],
    reached: Position,
    analyst: Caller,
) -> None:
    await index.add(ledger.documents())
    position = later(reached, xids=1)
    await index.store_position(position, time.time_ns() // 1_000 - 90_000_000)
    reply = await analyst.balance(accounts[0].id, min_position=position.encode())
    assert reply.freshness.position == position.encode()
    assert 90 <= reply.freshness.lag.seconds < 95


@pytest.fixture
async def stale(
    index: Index, connect: Connect, ledger: Ledger, accounts: tuple[AccountRow, AccountRow]
) -> AsyncIterator[Callable[[int], Awaitable[str]]]:
    """Tells a position as of a time, and returns it once the service has read it."""
    await index.add(ledger.documents())
    place = Position(EPOCH, time.time_ns() // 1_000, 5)
    steps = itertools.count(1)

    async def tell(source_time_us: int) -> str:
        position = later(place, xids=next(steps))
        await index.store_position(position, source_time_us)
        # Asked of what tells however far behind the index is.
        await Caller.on(connect("analyst")).latencies(min_position=position.encode())
        return position.encode()

    yield tell
    await tell(time.time_ns() // 1_000)


async def needing_the_index(analyst: Caller, min_position: str) -> list[PaycoreError]:
    terms: dict[str, Any] = {"min_position": min_position, "timeout": 5.0}
    search = history_service_pb2.SearchTransfersRequest(text="novel", min_position=min_position)
    return await asyncio.gather(
        *map(
            refused,
            (
                analyst.volume(0, 60_000_000, interval=1, **terms),
                analyst.kinds(**terms),
                analyst.institutions(**terms),
                analyst.declines(**terms),
                analyst.history.SearchTransfers(search, timeout=5.0),
            ),
        )
    )


@pytest.mark.parametrize("as_of", [0, "two days ago"], ids=["never filled", "far behind"])
@pytest.mark.parametrize("waiting", [False, True], ids=["anything", "a position it has"])
async def test_an_index_behind_or_not_filled_yet_answers_nothing(
    stale: Callable[[int], Awaitable[str]],
    accounts: tuple[AccountRow, AccountRow],
    analyst: Caller,
    as_of: int | str,
    waiting: bool,
) -> None:
    position = await stale(0 if as_of == 0 else time.time_ns() // 1_000 - 2 * 86_400_000_000)
    errors = await needing_the_index(analyst, position if waiting else "")
    assert {error.reason for error in errors} == {Reason.INDEX_BEHIND}
    assert all(error.retry_after_ms for error in errors)
    # The ledger has no such account; it was asked, and the index was not.
    error = await refused(analyst.balance(accounts[0].id))
    assert error.reason is Reason.ACCOUNT_NOT_FOUND


async def test_an_index_that_holds_nothing_yet_tells_no_lag(
    stale: Callable[[int], Awaitable[str]], analyst: Caller
) -> None:
    position = await stale(0)
    reply = await analyst.latencies(min_position=position)
    assert not reply.freshness.HasField("lag")

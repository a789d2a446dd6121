"""What readers of the index make of what the projector tells: all that there is, or nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError
from paycore.domain.grants import Reach
from paycore.domain.transfers import TransferId, TransferKind
from paycore.runtime.clock import SystemClock
from projector.settings import ProjectorSettings
from projector.sinks.elastic_indices import Indices
from projector.sinks.elastic_layout import Layout, month_of, parse
from projector.sinks.elastic_writer import BulkWriter
from query_service.positions import IndexStaleError, PositionTracker
from query_service.readers.elastic.analytics import ElasticAnalytics
from query_service.readers.elastic.connection import Connection
from query_service.readers.elastic.reader import ElasticPositions, ElasticReader
from query_service.readers.elastic.search import ElasticSearcher
from query_service.readers.port import (
    HistoryDroppedError,
    ReadTerms,
    StatementFilter,
    TransferFilter,
    Viewer,
    VolumeFilter,
)
from query_service.readers.search_port import SearchFilter
from tests.integration.projector.conftest import Running
from tests.integration.projector.index import TestIndex, until
from tests.integration.projector.ledger import Payment, TestLedger
from tests.integration.projector.test_children import post
from tests.integration.projector.test_rebuild import quick, settled
from tests.support.clocks import ShiftedClock
from tests.support.command_core import CommandCore, command_core, follow, payment
from tests.support.databases import OwnDatabase

__all__ = ["quick"]

Start = Callable[..., Running]

TOLERANCE_S = 4.0
LONG_US = 2**60
EVERYTHING = Viewer("analyst", Reach(all=True))


@dataclass
class Readers:
    """All that reads the index, as one query service has it."""

    positions: PositionTracker
    history: ElasticReader
    searcher: ElasticSearcher
    analytics: ElasticAnalytics

    @classmethod
    def of(cls, index: TestIndex, tolerance_s: float) -> Readers:
        clock = SystemClock()
        connection = Connection(index.client, clock)
        positions = PositionTracker(ElasticPositions(connection, index.prefix), clock, tolerance_s)
        parts = (connection, positions, index.prefix)
        return cls(
            positions, ElasticReader(*parts), ElasticSearcher(*parts), ElasticAnalytics(*parts)
        )

    async def refuse_all(self, account: int, transfer: int) -> None:
        """Whatever is asked, the index is told to be behind."""
        await self.positions.poll()
        start_us, end_us = 1, LONG_US
        asked: Sequence[Awaitable[Any]] = (
            self.history.account(AccountId(account), terms()),
            self.history.transfer(TransferId(transfer), terms()),
            self.history.transfers(TransferFilter(AccountId(account)), None, 10, terms()),
            self.history.total(TransferFilter(AccountId(account)), terms()),
            self.history.balance_at(AccountId(account), end_us, terms()),
            self.history.statement(
                StatementFilter(AccountId(account), start_us, end_us), None, 10, terms()
            ),
            self.searcher.search(
                SearchFilter(account=AccountId(account)),
                EVERYTHING,
                None,
                10,
                terms(),
                with_total=True,
            ),
            self.analytics.volume(VolumeFilter(start_us, end_us, 3_600), EVERYTHING, terms()),
        )
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(answer) for answer in answers] == [IndexStaleError] * len(asked)

    async def balance(self, account: int) -> int | None:
        """What the index says now; None where it says nothing."""
        await self.positions.poll()
        try:
            answer = await self.history.account(AccountId(account), terms())
        except PaycoreError:
            return None
        return None if answer.value is None else int(answer.value.balance)


def terms() -> ReadTerms:
    return ReadTerms(time.monotonic() + 30)


@pytest.fixture
def readers(index: TestIndex) -> Readers:
    return Readers.of(index, TOLERANCE_S)


@pytest.fixture
def patient(index: TestIndex) -> Readers:
    """To whom an index is current that a busy machine made late."""
    return Readers.of(index, 60.0)


@dataclass
class Gate:
    """Lets a number of writes to the index through."""

    passes: int = 0
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    """A write waits, or did."""

    async def __call__(self) -> None:
        if self.passes:
            self.passes -= 1
        else:
            self.reached.set()
            await self.opened.wait()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Open until it is made a gate."""
    gate = Gate()
    gate.opened.set()
    write = BulkWriter.write

    async def gated(self: BulkWriter, *arguments: Any) -> Any:
        await gate()
        return await write(self, *arguments)

    monkeypatch.setattr(BulkWriter, "write", gated)
    return gate


async def test_an_index_that_stands_still_is_behind_and_one_whose_ledger_rests_is_not(
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
    readers: Readers,
) -> None:
    first = start(settings)
    payer, payee = await ledger.open_pair()
    [transfer] = await ledger.post([Payment(payer, payee, 5)])
    await index.await_position(ledger)
    await asyncio.sleep(TOLERANCE_S + 1)

    async def answers() -> bool:
        return await readers.balance(payee) == 5

    # By what was told after the rest: what was told before is too old by now.
    await until(answers)
    await first.stop()
    await ledger.post([Payment(payer, payee, 700)])
    await asyncio.sleep(TOLERANCE_S + 1)
    await readers.refuse_all(payee, transfer)


@pytest.mark.parametrize("filled", [0, 1], ids=["nothing filled", "filled in part"])
@pytest.mark.parametrize("lost", ["transfers-g1-{month}", "transfers-*", "*s-g1*"])
async def test_an_index_that_was_lost_answers_once_it_is_filled_again(
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
    readers: Readers,
    gate: Gate,
    lost: str,
    filled: int,
) -> None:
    first = start(settings)
    payer, payee = await ledger.open_pair()
    for _ in range(3):
        [transfer] = await ledger.post([Payment(payer, payee, 5)])
    await index.await_position(ledger)
    assert await readers.balance(payee) == 15
    await first.stop()
    # What is filled first is older than what an index may be behind.
    await asyncio.sleep(TOLERANCE_S)
    pattern = lost.format(month=month_of(SystemClock().now_us()))
    for made in await index.client.indices.get(index=f"{index.prefix}-{pattern}"):
        await index.client.indices.delete(index=made)
    gate.passes = filled
    gate.opened.clear()
    gate.reached.clear()
    start(settings.model_copy(update={"page_entries": 1}))

    async def begun() -> bool:
        told = await index.position()
        there = await index.client.indices.exists_alias(name=f"{index.prefix}-transfers")
        return bool(there) and told is not None and bool(told["xid"]) == bool(filled)

    async with asyncio.timeout(60):
        await gate.reached.wait()
    await until(begun)
    await readers.refuse_all(payee, transfer)
    gate.opened.set()

    async def answers() -> bool:
        return await readers.balance(payee) == 15

    await until(answers)
    await index.assert_equals(ledger)


async def test_a_lost_index_is_told_to_be_empty_for_a_while_before_it_is_there(
    ledger: TestLedger, index: TestIndex, settings: ProjectorSettings, start: Start
) -> None:
    first = start(settings)
    accounts = await ledger.open_pair()
    await ledger.post([Payment(*accounts, 5)])
    await index.await_position(ledger)
    await first.stop()
    await index.lose("transfers")
    pause_s = 6.0
    start(settings.model_copy(update={"index_reset_pause_s": pause_s}))

    async def reset() -> bool:
        told = await index.position()
        return told is not None and told["xid"] == 0

    async def there() -> bool:
        return bool(await index.client.indices.exists_alias(name=f"{index.prefix}-transfers"))

    await until(reset)
    told_s = time.monotonic()
    await until(there)
    # Some of the pause may have gone by before it was seen.
    assert time.monotonic() - told_s > pause_s / 3
    await index.await_position(ledger)
    await index.assert_equals(ledger)


@dataclass
class Copy:
    """All of an index, as of a moment."""

    hits: list[dict[str, Any]]
    told: dict[str, int] | None

    @classmethod
    async def of(cls, index: TestIndex) -> Copy:
        found = await index.client.search(
            index=f"{index.prefix}-transfers,{index.prefix}-accounts", version=True, size=1_000
        )
        return cls(found["hits"]["hits"], await index.position())

    async def put_back(self, index: TestIndex) -> None:
        """Leave the index as the restore of a snapshot does, which knows of nothing later."""
        layout = Layout(index.prefix, 1)
        names = await index.client.indices.get(index=f"{index.prefix}-*-g1*")
        months = {named.month for name in names if (named := parse(index.prefix, name))} - {""}
        await index.client.indices.delete(index=list(names))
        await Indices(index.client, index.prefix).make(layout, months, served=True)
        for hit in self.hits:
            await index.client.index(
                index=hit["_index"],
                id=hit["_id"],
                document=hit["_source"],
                version=hit["_version"],
                version_type="external",
            )
        await index.client.indices.refresh(index=list(names))
        await index.client.index(
            index=f"{index.prefix}-positions", id="elasticsearch", document=self.told
        )


async def test_an_index_put_back_from_an_older_copy_is_filled_from_there(
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
    patient: Readers,
) -> None:
    first = start(settings)
    payer, payee = await ledger.open_pair()
    await ledger.post([Payment(payer, payee, 5)])
    await index.await_position(ledger)
    copy = await Copy.of(index)
    await ledger.post([Payment(payer, payee, 700)])
    await index.await_position(ledger)
    await first.stop()
    await copy.put_back(index)
    start(settings)
    await ledger.post([Payment(payee, payer, 1)])
    await index.await_position(ledger)
    await index.assert_equals(ledger)
    # As of the position of the last payment, which proves all before it.
    await patient.positions.poll()
    answer = await patient.history.transfers(TransferFilter(AccountId(payee)), None, 10, terms())
    assert [found.amount for found in answer.value] == [1, 700, 5]


async def test_a_position_of_the_history_before_is_not_gone_on_from(
    ledger: TestLedger, index: TestIndex, quick: ProjectorSettings, start: Start
) -> None:
    first = start(quick)
    accounts = await ledger.open_pair()
    await ledger.post([Payment(*accounts, 3)])
    await index.await_position(ledger)
    await ledger.execute("UPDATE ledger.epoch SET epoch = epoch + 1")
    await ledger.post([Payment(*accounts, 4)])
    await settled(index, ledger, 2)
    await index.await_position(ledger)
    await first.stop()
    told = await index.position()
    assert told is not None
    # As after a crash between the switch and its being told, of a history that had gone further.
    await index.client.index(
        index=f"{index.prefix}-positions",
        id="elasticsearch",
        document={**told, "epoch": 1, "xid": 2**40},
    )
    start(quick)
    await ledger.post([Payment(*accounts, 5)])
    await index.await_position(ledger)
    await index.assert_equals(ledger)


async def test_a_transfer_past_retention_is_not_told_as_it_was(
    database: OwnDatabase,
    core: CommandCore,
    index: TestIndex,
    ledger: TestLedger,
    settings: ProjectorSettings,
    start: Start,
    patient: Readers,
) -> None:
    before = ShiftedClock(wall_only=True)
    before.shift_s = -35 * 86_400.0
    async with command_core(database.dsn("command"), clock=before) as early:
        _, payer, payee = await early.open(2)
        parent = (await post(early, payment(payer, payee, 5))).transfer
    first = start(settings)
    await index.await_position(ledger)
    await first.stop()
    # What is past retention is written no more, and stays for those who still read it.
    start(settings.model_copy(update={"index_months_kept": 1, "index_grace_s": 600.0}))
    refund = await post(core, follow(parent, TransferKind.REFUND))
    await index.await_position(ledger)
    assert await index.get(parent.id) is not None
    await patient.positions.poll()
    asked = ReadTerms(time.monotonic() + 30, refund.position)
    with pytest.raises(HistoryDroppedError):
        await patient.history.transfer(parent.id, asked)
    found = await patient.searcher.search(
        SearchFilter(account=payer), EVERYTHING, None, 10, asked, with_total=True
    )
    assert [one.id for one in found.value.transfers] == [refund.transfer.id]
    assert found.value.total is not None
    assert found.value.total.transfers == 1

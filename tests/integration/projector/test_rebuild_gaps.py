"""A document that no index takes holds up no rebuild; anything else that is missing does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from projector.batch import Document
from projector.settings import ProjectorSettings
from projector.sinks.elastic_layout import Layout
from projector.sinks.elastic_writer import BulkWriter
from tests.integration.projector.conftest import Running
from tests.integration.projector.index import TestIndex
from tests.integration.projector.ledger import Payment, TestLedger
from tests.integration.projector.test_dead_letters import TOO_LONG
from tests.integration.projector.test_rebuild import ask, generations, outcome, quick

__all__ = ["quick"]

Start = Callable[[ProjectorSettings], Running]


async def letters(ledger: TestLedger) -> list[int]:
    rows = await ledger.rows("SELECT document_id FROM projection.dead_letters ORDER BY document_id")
    return [row["document_id"] for row in rows]


async def accept_anything(index: TestIndex) -> None:
    """Let the generation that serves take what the mapping file refuses."""
    reference = {"type": "keyword", "doc_values": False, "ignore_above": 100}
    await index.client.indices.put_mapping(
        index=f"{index.prefix}-transfers", properties={"reference": reference}
    )


async def test_a_fresh_index_serves_without_what_it_refuses_and_names_it(
    ledger: TestLedger, index: TestIndex, quick: ProjectorSettings, start: Start
) -> None:
    start(quick)
    accounts = await ledger.open_pair()
    [good] = await ledger.post([Payment(*accounts, 1)])
    [bad] = await ledger.post([Payment(*accounts, 2, TOO_LONG)])
    await index.await_position(ledger)
    told = await outcome(ledger, await ask(ledger, "REBUILD"))
    assert told == (
        "generation 2 serves; equal but for 1 refused for good, which are dead letters:"
        f" transfers {bad}"
    )
    assert (2, "SERVING") in await generations(ledger)
    assert (await index.documents("transfers")).keys() == {good}
    assert await letters(ledger) == [bad]


async def test_what_the_fresh_index_alone_refuses_becomes_a_letter(
    ledger: TestLedger, index: TestIndex, quick: ProjectorSettings, start: Start
) -> None:
    start(quick)
    accounts = await ledger.open_pair()
    await ledger.post([Payment(*accounts, 1)])
    await index.await_position(ledger)
    await accept_anything(index)
    bad = [(await ledger.post([Payment(*accounts, n, TOO_LONG)]))[0] for n in (2, 3)]
    await index.await_position(ledger)
    assert await letters(ledger) == []
    told = await outcome(ledger, await ask(ledger, "REBUILD"))
    assert told.startswith("generation 2 serves; equal but for 2 refused")
    assert await letters(ledger) == bad


@pytest.mark.parametrize("held", [0, 1])
async def test_where_there_is_no_room_for_what_it_refuses_it_is_given_up(
    ledger: TestLedger, index: TestIndex, quick: ProjectorSettings, start: Start, held: int
) -> None:
    """Too much by itself, or with the letters that there are."""
    start(quick.model_copy(update={"dead_letter_limit": 1 + held}))
    accounts = await ledger.open_pair()
    [good] = await ledger.post([Payment(*accounts, 1)])
    await index.await_position(ledger)
    if held:
        await ledger.execute(
            "INSERT INTO projection.dead_letters (sink, kind, document_id, version, error_type,"
            " reason, journal_xid, journal_id)"
            " SELECT 'elasticsearch', 'transfers', $1, 1, 'e', 'r', xid, id"
            " FROM ledger.journal LIMIT 1",
            good,
        )
    before = await letters(ledger)
    assert len(before) == held
    await accept_anything(index)
    for amount in (2, 3):
        await ledger.post([Payment(*accounts, amount, TOO_LONG)])
    await index.await_position(ledger)
    told = await outcome(ledger, await ask(ledger, "REBUILD"))
    assert "refused" in told
    assert "serves" not in told
    assert (1, "SERVING") in await generations(ledger)
    assert await letters(ledger) == before
    [last] = await ledger.post([Payment(*accounts, 4)])
    await index.await_position(ledger)
    assert last in await index.documents("transfers")


async def test_what_is_missing_and_was_not_refused_still_ends_it(
    ledger: TestLedger,
    index: TestIndex,
    quick: ProjectorSettings,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start(quick)
    accounts = await ledger.open_pair()
    [lost] = await ledger.post([Payment(*accounts, 1)])
    [bad] = await ledger.post([Payment(*accounts, 2, TOO_LONG)])
    await index.await_position(ledger)
    write = BulkWriter.write

    async def losing(
        self: BulkWriter, layout: Layout, documents: Sequence[Document], *more: Any
    ) -> Any:
        return await write(self, layout, [one for one in documents if one.id != lost], *more)

    monkeypatch.setattr(BulkWriter, "write", losing)
    told = await outcome(ledger, await ask(ledger, "REBUILD"))
    assert told.startswith("the fresh index is not as the ledger")
    assert str(lost) in told
    assert (1, "SERVING") in await generations(ledger)
    assert await letters(ledger) == [bad]

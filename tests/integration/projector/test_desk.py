"""What operators ask of the projector: by a role that can change nothing itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import asyncpg
import pytest

from operations.deployment import Deployment
from operations.errors import UsageError
from operations.projection import ProjectionDesk, open_desk
from projector.settings import ProjectorSettings
from tests.integration.projector.conftest import Running
from tests.integration.projector.index import TestIndex
from tests.integration.projector.ledger import Payment, TestLedger
from tests.integration.projector.test_dead_letters import TOO_LONG
from tests.support.databases import OwnDatabase

Start = Callable[..., Running]
NOWHERE = Deployment({}, None, None, None, None, None, None)


@pytest.fixture
async def desk(database: OwnDatabase) -> AsyncIterator[ProjectionDesk]:
    async with open_desk(replace(NOWHERE, operator_dsn=database.dsn("operator"))) as desk:
        yield desk


async def ended(desk: ProjectionDesk, request: int) -> str:
    view = await desk.outcome(request, 60, lambda done, total: None)
    assert view.ended_at is not None
    return view.outcome or ""


async def test_letters_are_listed_replayed_once_mended_and_discarded(
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
    desk: ProjectionDesk,
) -> None:
    start(settings)
    accounts = await ledger.open_pair()
    bad = [(await ledger.post([Payment(*accounts, n, TOO_LONG)]))[0] for n in range(1, 4)]
    await index.await_position(ledger)
    found = await desk.letters("elasticsearch", None, None, 2)
    assert ([letter.document_id for letter in found.letters], found.all_letters) == (bad[:2], 3)
    rest = await desk.letters("elasticsearch", "transfers", bad[1], 2)
    assert [letter.document_id for letter in rest.letters] == bad[2:]
    assert (await desk.letters("elasticsearch", "accounts", None, 2)).letters == []

    replay = await desk.ask("REPLAY", "not mended yet", document_id=bad[0])
    assert await ended(desk, replay) == "taken 0, refused again 1"
    [letter] = (await desk.letter("elasticsearch", bad[0])).letters
    assert letter.failures == 2
    assert "canary" not in letter.reason

    reference = {"type": "keyword", "doc_values": False, "ignore_above": 100}
    await index.client.indices.put_mapping(
        index=f"{index.prefix}-transfers", properties={"reference": reference}
    )
    replay = await desk.ask("REPLAY", "mended", document_id=bad[0])
    assert await ended(desk, replay) == "taken 1, refused again 0"
    assert (await desk.letter("elasticsearch", bad[0])).letters == []
    discard = await desk.ask("DISCARD", "never mind", document_id=bad[1])
    assert await ended(desk, discard) == "discarded 1"
    replay = await desk.ask("REPLAY", "all the rest")
    assert await ended(desk, replay) == "taken 1, refused again 0"
    assert (await desk.letters("elasticsearch", None, None, 9)).letters == []
    assert await index.get(bad[0]) is not None
    assert await index.get(bad[1]) is None
    assert await index.get(bad[2]) is not None
    # The one that was discarded is drift, and is found as such.
    assert await ended(desk, await desk.ask("REPAIR", "after a discard")) != "equal"
    assert await index.get(bad[1]) is not None


async def test_who_asked_and_why_is_kept_and_cannot_be_changed(
    database: OwnDatabase, desk: ProjectionDesk, ledger: TestLedger
) -> None:
    request = await desk.ask("CHECK", "ticket 4711")
    [row] = await ledger.rows("SELECT * FROM projection.requests")
    assert (row["id"], row["role"], row["reason"]) == (request, "paycore_operator", "ticket 4711")
    connection = await asyncpg.connect(database.dsn("operator"))
    for statement in (
        "UPDATE projection.requests SET reason = 'other'",
        "DELETE FROM projection.requests",
        "INSERT INTO projection.requests (sink, action, reason, requested_by, role)"
        " VALUES ('elasticsearch', 'CHECK', 'r', 'me', 'postgres')",
        "DELETE FROM projection.dead_letters",
        "UPDATE projection.generations SET state = 'RETIRED'",
        "SELECT * FROM ledger.transfers",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await connection.close()
    projector = await asyncpg.connect(database.dsn("projector"))
    for statement in (
        "UPDATE projection.requests SET requested_by = 'other'",
        "SELECT projection.request('elasticsearch', 'CHECK', NULL, NULL, 'r', 'me')",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await projector.execute(statement)
    await projector.close()
    with pytest.raises(UsageError, match="1 to 256"):
        await desk.ask("CHECK", "")


async def test_without_its_dsn_nothing_can_be_asked() -> None:
    with pytest.raises(UsageError, match="PAYCORE_OPERATOR_DSN"):
        async with open_desk(NOWHERE):
            pass

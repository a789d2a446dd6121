"""What can never be indexed is kept by id, and the feed goes on."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import REGISTRY

from projector.settings import ProjectorSettings
from tests.integration.projector.conftest import Running
from tests.integration.projector.index import TestIndex, until
from tests.integration.projector.ledger import Payment, TestLedger
from tests.integration.projector.test_rebuild import ask, outcome

Start = Callable[[ProjectorSettings], Running]

TOO_LONG = "canary" * 6_000
"""Longer than a term of the index may be: 32,766 bytes."""


async def test_a_document_that_the_mapping_refuses_is_kept_by_id_and_the_feed_goes_on(
    ledger: TestLedger, index: TestIndex, settings: ProjectorSettings, start: Start
) -> None:
    start(settings)
    accounts = await ledger.open_pair()
    [good] = await ledger.post([Payment(*accounts, 1)])
    [bad] = await ledger.post([Payment(*accounts, 2, TOO_LONG)])
    [after] = await ledger.post([Payment(*accounts, 3)])
    await index.await_position(ledger)
    assert (await index.documents("transfers")).keys() == {good, after}
    [letter] = await ledger.rows("SELECT * FROM projection.dead_letters")
    assert (letter["kind"], letter["document_id"], letter["version"]) == ("transfers", bad, 1)
    assert letter["error_type"] == "document_parsing_exception"
    assert "reference" in letter["reason"]
    assert "canary" not in str(letter)
    assert await ledger.checkpoint_xid() == await ledger.last_xid()


async def test_a_letter_that_comes_again_is_counted_and_not_doubled(
    ledger: TestLedger, index: TestIndex, settings: ProjectorSettings, start: Start
) -> None:
    accounts = await ledger.open_pair()
    [bad] = await ledger.post([Payment(*accounts, 2, TOO_LONG)])
    # No room for a second one: what comes again must not look like it.
    settings = settings.model_copy(update={"dead_letter_limit": 1})
    first = start(settings)
    await index.await_position(ledger)
    await first.stop()
    await ledger.execute("DELETE FROM projection.checkpoints")
    second = start(settings)

    async def counted() -> bool:
        letters = await ledger.rows("SELECT document_id, failures FROM projection.dead_letters")
        return letters == [{"document_id": bad, "failures": 2}]

    await until(counted)
    await second.stop()


async def test_a_flood_of_refusals_halts_the_feed(
    ledger: TestLedger, index: TestIndex, settings: ProjectorSettings, start: Start
) -> None:
    running = start(settings.model_copy(update={"dead_letter_limit": 2}))
    accounts = await ledger.open_pair()
    await index.await_position(ledger)
    before = await ledger.checkpoint_xid()
    await ledger.post([Payment(*accounts, 2, TOO_LONG)] * 3)
    labels = {"sink": "elasticsearch", "end": "DeadLettersFullError"}

    async def halted() -> bool:
        ended = REGISTRY.get_sample_value("paycore_projector_sessions_total", labels)
        return bool(ended) and not running.readiness.ready

    await until(halted)
    assert await ledger.checkpoint_xid() == before
    assert await ledger.rows("SELECT 1 FROM projection.dead_letters") == []


async def test_a_replay_on_a_full_table_ends_and_so_does_what_is_asked_after_it(
    ledger: TestLedger, index: TestIndex, settings: ProjectorSettings, start: Start
) -> None:
    start(settings.model_copy(update={"dead_letter_limit": 2}))
    accounts = await ledger.open_pair()
    for amount in (1, 2):
        await ledger.post([Payment(*accounts, amount, TOO_LONG)])
    await index.await_position(ledger)
    replay, discard = await ask(ledger, "REPLAY"), await ask(ledger, "DISCARD")
    assert await outcome(ledger, replay) == "taken 0, refused again 2"
    assert await outcome(ledger, discard) == "discarded 2"
    [good] = await ledger.post([Payment(*accounts, 3)])
    await index.await_position(ledger)
    assert (await index.documents("transfers")).keys() == {good}


async def test_what_is_asked_and_cannot_be_done_says_so_and_holds_up_nothing(
    ledger: TestLedger, index: TestIndex, settings: ProjectorSettings, start: Start
) -> None:
    start(settings)
    accounts = await ledger.open_pair()
    await ledger.post([Payment(*accounts, 1, TOO_LONG)])
    await index.await_position(ledger)
    await ledger.execute(
        "CREATE FUNCTION projection.refuse() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE EXCEPTION 'canary'; END $$"
    )
    await ledger.execute(
        "CREATE TRIGGER refuse BEFORE UPDATE OR DELETE ON projection.dead_letters"
        " FOR EACH ROW EXECUTE FUNCTION projection.refuse()"
    )
    for action in ("REPLAY", "DISCARD"):
        assert await outcome(ledger, await ask(ledger, action)) == "failed: RaiseError"
    await ledger.execute("DROP TRIGGER refuse ON projection.dead_letters")
    assert await outcome(ledger, await ask(ledger, "DISCARD")) == "discarded 1"

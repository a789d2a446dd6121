"""A fresh index takes the place of the old one: nothing fails meanwhile, and nothing goes back."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from paycore.domain.position import Position
from projector.settings import ProjectorSettings
from projector.sinks import elastic_mappings
from projector.sinks.elastic_layout import parse
from tests.integration.projector.conftest import Running
from tests.integration.projector.index import TestIndex, until
from tests.integration.projector.ledger import Payment, TestLedger, random_payments
from tests.support.elastic_proxy import FaultyProxy, Gate

Start = Callable[..., Running]


async def ask(ledger: TestLedger, action: str, **of: Any) -> int:
    """Ask the projector for something, as an operator does; returns the request's id."""
    rows = await ledger.rows(
        "SELECT projection.request('elasticsearch', $1, $2, $3, 'a test', 'tester') AS id",
        action, of.get("kind"), of.get("document_id"),
    )  # fmt: skip
    return int(rows[0]["id"])


async def outcome(ledger: TestLedger, request: int, timeout_s: float = 120.0) -> str:
    found: list[dict[str, Any]] = []

    async def ended() -> bool:
        found[:] = await ledger.rows(
            "SELECT outcome FROM projection.requests WHERE id = $1 AND ended_at IS NOT NULL",
            request,
        )
        return bool(found)

    await until(ended, timeout_s)
    return str(found[0]["outcome"])


async def generations(ledger: TestLedger) -> list[tuple[int, str]]:
    rows = await ledger.rows(
        "SELECT generation, state FROM projection.generations ORDER BY generation"
    )
    return [(row["generation"], row["state"]) for row in rows]


async def there(index: TestIndex) -> set[int]:
    """The generations of which indices exist."""
    found = await index.client.indices.get(index=f"{index.prefix}-*")
    named = (parse(index.prefix, name) for name in found)
    return {one.generation for one in named if one is not None}


async def settled(index: TestIndex, ledger: TestLedger, generation: int) -> None:
    """Return once `generation` serves and nothing else is there or on record."""

    async def alone() -> bool:
        on_record = await generations(ledger)
        return on_record == [(generation, "SERVING")] and await there(index) == {generation}

    await until(alone, 60)


@pytest.fixture
def quick(settings: ProjectorSettings, monkeypatch: pytest.MonkeyPatch) -> ProjectorSettings:
    """Small pages, and what was replaced goes at once."""
    monkeypatch.setattr("projector.sinks.elastic_upkeep.TEND_EVERY_S", 0.5)
    monkeypatch.setattr("projector.sinks.elastic_upkeep.RETRY_S", 0.2)
    return settings.model_copy(update={"build_page": 10})


async def test_it_holds_the_same_and_the_old_one_goes(
    ledger: TestLedger,
    index: TestIndex,
    quick: ProjectorSettings,
    start: Start,
    rng: random.Random,
) -> None:
    start(quick)
    accounts = await ledger.open_accounts(12)
    for _ in range(6):
        await ledger.post(random_payments(rng, accounts, 9))
    await ledger.decline(Payment(accounts[0], accounts[1], 7))
    await index.await_position(ledger)
    before = await index.documents("transfers")
    assert await generations(ledger) == [(1, "SERVING")]
    told = await outcome(ledger, await ask(ledger, "REBUILD"))
    assert "generation 2 serves; equal" in told
    await settled(index, ledger, 2)
    assert await index.documents("transfers") == before
    await ledger.post([Payment(accounts[0], accounts[1], 3)])
    await index.await_position(ledger)
    await index.assert_equals(ledger)


async def test_readers_see_no_failure_and_nothing_goes_back_while_writers_go_on(
    ledger: TestLedger,
    index: TestIndex,
    quick: ProjectorSettings,
    start: Start,
    rng: random.Random,
) -> None:
    start(quick.model_copy(update={"build_page": 100}))
    accounts = await ledger.open_accounts(8)
    await ledger.post(random_payments(rng, accounts, 400))
    await index.await_position(ledger)
    stop = asyncio.Event()

    async def write(own: list[int], seed: int) -> None:
        chance = random.Random(seed)
        while not stop.is_set():
            await ledger.post(random_payments(chance, own, chance.randint(1, 4)))
            await asyncio.sleep(0.05)

    async def read() -> int:
        reads, most = 0, 0
        seen = Position(0, 0, 0)
        while not stop.is_set():
            told = await index.position()
            assert told is not None
            position = Position(told["epoch"], told["xid"], told["journal_id"])
            assert position >= seen
            seen = position
            reply = await index.client.search(
                index=f"{index.prefix}-transfers", size=10_000, source=False,
                allow_partial_search_results=False,
            )  # fmt: skip
            found = {int(hit["_id"]) for hit in reply["hits"]["hits"]}
            due = await ledger.rows(
                "SELECT unnest(transfers) AS id FROM ledger.journal WHERE (xid, id) <= ($1, $2)",
                told["xid"],
                told["journal_id"],
            )
            assert {row["id"] for row in due} <= found
            assert len(found) == len(reply["hits"]["hits"])
            assert len(found) >= most
            most = len(found)
            reads += 1
        return reads

    # Each writer has accounts of its own, so that none waits for another's locks.
    writers = [
        asyncio.create_task(write(own, rng.randrange(2**32)))
        for own in (accounts[:4], accounts[4:])
    ]
    reader = asyncio.create_task(read())
    for generation in (2, 3):
        assert "equal" in await outcome(ledger, await ask(ledger, "REBUILD"))
        await settled(index, ledger, generation)
        assert not reader.done()
    stop.set()
    await asyncio.gather(*writers)
    assert await reader > 10
    await index.await_position(ledger)
    await index.assert_equals(ledger)


@pytest.mark.parametrize("place", ["/_bulk", "/_refresh", "/_aliases"])
async def test_a_crash_in_any_phase_is_resumed_and_leaves_nothing_behind(
    ledger: TestLedger,
    index: TestIndex,
    quick: ProjectorSettings,
    start: Start,
    rng: random.Random,
    place: str,
) -> None:
    accounts = await ledger.open_accounts(6)
    await ledger.post(random_payments(rng, accounts, 60))
    first = start(quick)
    await index.await_position(ledger)
    await first.stop()
    async with FaultyProxy(quick.elasticsearch_url) as proxy:
        request = await ask(ledger, "REBUILD")
        proxy.fault = gate = Gate(place)
        second = start(quick.model_copy(update={"elasticsearch_url": proxy.url}))

        async def building() -> bool:
            return len(await generations(ledger)) > 1

        if place != "/_refresh":
            await until(building)
        await asyncio.wait_for(gate.reached.wait(), 90)
        await ledger.post(random_payments(rng, accounts, 5))
        await second.cut()
    start(quick)
    assert "equal" in await outcome(ledger, request)
    await index.await_position(ledger)
    [(generation, _)] = [one for one in await generations(ledger) if one[1] == "SERVING"]
    await settled(index, ledger, generation)
    await index.assert_equals(ledger)


async def test_cut_off_at_random_it_ends_all_the_same(
    ledger: TestLedger,
    index: TestIndex,
    quick: ProjectorSettings,
    start: Start,
    rng: random.Random,
) -> None:
    accounts = await ledger.open_accounts(6)
    await ledger.post(random_payments(rng, accounts, 120))
    request = await ask(ledger, "REBUILD")
    for _ in range(6):
        running = start(quick)
        await asyncio.sleep(rng.uniform(0.2, 2.5))
        await ledger.post(random_payments(rng, accounts, 3))
        await running.cut()
    start(quick)
    await outcome(ledger, request)
    [(generation, _)] = [one for one in await generations(ledger) if one[1] == "SERVING"]
    await settled(index, ledger, generation)
    await index.await_position(ledger)
    await index.assert_equals(ledger)


async def test_cut_off_when_its_indices_are_made_and_not_yet_on_record_it_begins_anew(
    ledger: TestLedger,
    index: TestIndex,
    quick: ProjectorSettings,
    start: Start,
    rng: random.Random,
) -> None:
    accounts = await ledger.open_accounts(6)
    await ledger.post(random_payments(rng, accounts, 60))
    made = asyncio.Event()
    async with FaultyProxy(quick.elasticsearch_url) as proxy:

        async def keep_the_reply(request: web.Request, body: bytes) -> None:
            # The last that is made of a generation.
            if request.method == "PUT" and request.path.endswith("-accounts-g2"):
                await proxy.forward(request, body)
                made.set()
                await asyncio.Event().wait()

        proxy.fault = keep_the_reply
        running = start(quick.model_copy(update={"elasticsearch_url": proxy.url}))
        request = await ask(ledger, "REBUILD")
        await asyncio.wait_for(made.wait(), 60)
        await running.cut()
    start(quick)
    assert "equal" in await outcome(ledger, request)
    await settled(index, ledger, 3)
    await index.assert_equals(ledger)


async def test_a_fresh_index_that_is_lost_is_begun_anew(
    ledger: TestLedger,
    index: TestIndex,
    quick: ProjectorSettings,
    start: Start,
    rng: random.Random,
) -> None:
    accounts = await ledger.open_accounts(6)
    await ledger.post(random_payments(rng, accounts, 60))
    async with FaultyProxy(quick.elasticsearch_url) as proxy:
        running = start(quick.model_copy(update={"elasticsearch_url": proxy.url}))
        await index.await_position(ledger)
        proxy.fault = gate = Gate("/_bulk")
        request = await ask(ledger, "REBUILD")
        await asyncio.wait_for(gate.reached.wait(), 90)
        for made in await index.client.indices.get(index=f"{index.prefix}-transfers-g2-*"):
            await index.client.indices.delete(index=made)
        proxy.fault = None
        gate.open.set()
        assert "equal" in await outcome(ledger, request)
        await index.await_position(ledger)
        await index.assert_equals(ledger)
        await running.stop()


def altered(change: Callable[[dict[str, Any]], None]) -> Callable[[str], str]:
    """Mapping files in which that of transfers is changed."""
    real = elastic_mappings._file

    def read(name: str) -> str:
        content = json.loads(real(name))
        if name == "transfers":
            change(content["mappings"])
        return json.dumps(content)

    return read


async def test_a_mapping_that_cannot_be_changed_in_place_is_built_by_itself(
    ledger: TestLedger,
    index: TestIndex,
    quick: ProjectorSettings,
    start: Start,
) -> None:
    def earlier(mappings: dict[str, Any]) -> None:
        mappings["_meta"]["version"] = 1
        mappings["properties"]["reference"] = {"type": "text"}
        del mappings["properties"]["review"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elastic_mappings, "_file", altered(earlier))
        first = start(quick)
        accounts = await ledger.open_pair()
        await ledger.post([Payment(*accounts, 3, "r-1")])
        await index.await_position(ledger)
        await first.stop()
    start(quick)
    await settled(index, ledger, 2)
    await index.await_position(ledger)
    await index.assert_equals(ledger)
    mapped = await index.client.indices.get_mapping(index=f"{index.prefix}-transfers")
    for told in mapped.values():
        assert told["mappings"]["properties"]["reference"]["type"] == "keyword"


async def test_fields_that_are_new_are_added_in_place(
    ledger: TestLedger, index: TestIndex, quick: ProjectorSettings, start: Start
) -> None:
    later = ("debit_held_after", "remaining", "parent_id", "review")

    def earlier(mappings: dict[str, Any]) -> None:
        mappings["_meta"]["version"] = 1
        for name in later:
            del mappings["properties"][name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elastic_mappings, "_file", altered(earlier))
        first = start(quick)
        await ledger.open_accounts(2)
        await index.await_position(ledger)
        await first.stop()
    start(quick)
    accounts = await ledger.open_pair()
    await ledger.post([Payment(*accounts, 3)])
    await index.await_position(ledger)
    assert await generations(ledger) == [(1, "SERVING")]
    mapped = await index.client.indices.get_mapping(index=f"{index.prefix}-transfers")
    for told in mapped.values():
        assert set(later) <= told["mappings"]["properties"].keys()
        assert told["mappings"]["_meta"]["version"] == 4
    await index.assert_equals(ledger)
    assert await ledger.rows("SELECT * FROM projection.dead_letters") == []


async def test_the_one_index_of_an_earlier_release_serves_until_those_by_month_do(
    ledger: TestLedger, index: TestIndex, quick: ProjectorSettings, start: Start
) -> None:
    first = start(quick)
    accounts = await ledger.open_pair()
    await ledger.post([Payment(*accounts, 3)])
    await index.await_position(ledger)
    documents = {kind: await index.documents(kind) for kind in ("transfers", "accounts")}
    await first.stop()
    for kind, found in documents.items():
        await index.lose(kind)
        await index.client.indices.create(
            index=f"{index.prefix}-{kind}-v1",
            aliases={f"{index.prefix}-{kind}": {"is_write_index": True}},
            **elastic_mappings.definition(kind),
        )
        for key, document in found.items():
            await index.client.index(
                index=f"{index.prefix}-{kind}", id=str(key), document=document, refresh=True,
                version=100 if kind == "accounts" else 1, version_type="external",
            )  # fmt: skip
    await ledger.execute("DELETE FROM projection.generations")
    async with FaultyProxy(quick.elasticsearch_url) as proxy:
        proxy.fault = gate = Gate("/_aliases")
        running = start(quick.model_copy(update={"elasticsearch_url": proxy.url}))
        await asyncio.wait_for(gate.reached.wait(), 90)
        assert (await generations(ledger))[0] == (0, "SERVING")
        assert await index.documents("transfers") == documents["transfers"]
        gate.open.set()
        await settled(index, ledger, 1)
        await running.stop()
    start(quick)
    await ledger.post([Payment(*accounts, 4)])
    await index.await_position(ledger)
    await index.assert_equals(ledger)
    assert not [
        made for made in await index.client.indices.get(index=f"{index.prefix}-*") if "-v1" in made
    ]


async def test_another_epoch_is_built_anew_while_the_old_index_serves(
    ledger: TestLedger, index: TestIndex, quick: ProjectorSettings, start: Start
) -> None:
    running = start(quick)
    accounts = await ledger.open_pair()
    kept = await ledger.post([Payment(*accounts, 3)])
    await index.await_position(ledger)
    before = await index.position()
    # What the replaced history had and this one has not.
    stray = {**(await index.documents("transfers"))[kept[0]], "id": 5}
    found = await index.get(kept[0])
    assert found is not None
    await index.client.index(
        index=found["_index"], id="5", document=stray, version=1, version_type="external",
        refresh=True,
    )  # fmt: skip
    async with FaultyProxy(quick.elasticsearch_url) as proxy:
        await running.stop()
        await ledger.execute("UPDATE ledger.epoch SET epoch = epoch + 1")
        more = await ledger.post([Payment(*accounts, 4)])
        proxy.fault = gate = Gate("/_aliases")
        second = start(quick.model_copy(update={"elasticsearch_url": proxy.url}))
        await asyncio.wait_for(gate.reached.wait(), 90)
        # The old one stands where it stood, and says of which history it is.
        assert await index.position() == before
        assert (await index.documents("transfers")).keys() == {5, *kept}
        gate.open.set()
        await settled(index, ledger, 2)
        told = await index.position()
        assert told is not None
        assert told["epoch"] == 2
        await second.stop()
    start(quick)
    more += await ledger.post([Payment(*accounts, 4)])
    await index.await_position(ledger)
    assert (await index.documents("transfers")).keys() == {*kept, *more}
    await index.assert_equals(ledger)


async def test_an_epoch_that_changes_under_way_is_built_too(
    ledger: TestLedger, index: TestIndex, quick: ProjectorSettings, start: Start
) -> None:
    start(quick)
    accounts = await ledger.open_pair()
    await ledger.post([Payment(*accounts, 3)])
    await index.await_position(ledger)
    await ledger.execute("UPDATE ledger.epoch SET epoch = epoch + 1")
    await ledger.post([Payment(*accounts, 3)])
    await settled(index, ledger, 2)
    await index.await_position(ledger)
    await index.assert_equals(ledger)

"""Personal data in the index: opened, cleared by an erasure, and made good when keys come back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import grpc
import pytest

from paycore.domain.accounts import AccountId
from paycore.domain.transfers import Declined, Details, Posted
from projector import rewriter
from projector.settings import ProjectorSettings
from tests.integration.personal.conftest import Desk, open_desk
from tests.integration.projector.conftest import Running
from tests.integration.projector.index import TestIndex, until
from tests.integration.projector.ledger import TestLedger
from tests.support.command_core import payment
from tests.support.data_key_server import DataKeyServer, data_key_server
from tests.support.databases import OwnDatabase

Start = Callable[..., Running]

ADA = Details("ada", "phone-1", "192.0.2.7", "canary rent", {"flat": "canary 4b"})
PERSONAL = ("user_id", "device_id", "ip_address", "description", "metadata")


@pytest.fixture
async def signer(database: OwnDatabase) -> AsyncIterator[DataKeyServer]:
    async with data_key_server(database) as server:
        yield server


@pytest.fixture
async def desk(database: OwnDatabase, signer: DataKeyServer) -> AsyncIterator[Desk]:
    async with open_desk(database, signer) as desk:
        yield desk


@pytest.fixture
def project(
    start: Start, settings: ProjectorSettings, signer: DataKeyServer
) -> Callable[[], Running]:
    """Starts a projector that has its keys from `signer`."""

    def begin() -> Running:
        channel: grpc.aio.Channel = signer.channel("projector")
        return start(settings, channel)

    return begin


def detailed(debit: AccountId, credit: AccountId, details: Details = ADA, **more: Any) -> Any:
    return payment(debit, credit, 5, details=details, details_hash=b"h", **more)


async def post(desk: Desk, *commands: Any) -> list[int]:
    """The ids of what was posted or declined."""
    ids: list[int] = []
    for outcome in await desk.submit(*commands):
        match outcome:
            case Posted():
                ids.append(outcome.transfer.id)
            case Declined():
                ids.append(outcome.decline.id)
            case _:
                raise AssertionError(outcome)
    return ids


def personal(document: dict[str, Any]) -> dict[str, Any]:
    return {name: document[name] for name in (*PERSONAL, "details_state") if name in document}


OPEN = {
    "user_id": "ada", "device_id": "phone-1", "ip_address": "192.0.2.7",
    "description": "canary rent", "metadata": {"flat": "canary 4b"},
}  # fmt: skip
ERASED = {"details_state": "ERASED"}
WITHHELD = {"details_state": "UNAVAILABLE"}


async def version_of(index: TestIndex, transfer: int) -> int:
    found = await index.get(transfer)
    assert found is not None
    return int(found["_version"])


async def until_told(index: TestIndex, transfers: list[int], wanted: dict[str, Any]) -> None:
    """Return once all of `transfers` are found with the personal data `wanted`."""

    async def told() -> bool:
        documents = await index.documents("transfers")
        return all(personal(documents[one]) == wanted for one in transfers)

    await until(told)


async def test_an_erasure_clears_the_subjects_documents_and_no_others(
    desk: Desk, project: Callable[[], Running], index: TestIndex, ledger: TestLedger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # Several steps for few documents.
    monkeypatch.setattr(rewriter, "AT_ONCE", 2)
    _, payer, payee = await desk.core.open(2, owner="ada")
    _, other = await desk.core.open(1, owner="bob")
    by_ada = await post(desk, *(detailed(payer, payee) for _ in range(5)))
    by_ada += await post(desk, detailed(payer, payee)._replace(amount=10**9))
    by_bob = await post(desk, detailed(other, payee, replace(ADA, user_id="bob")))
    running = project()
    await index.await_position(ledger)
    await until_told(index, by_ada, OPEN)
    versions = [await version_of(index, one) for one in by_ada]

    await desk.erase("ada")
    late = await post(desk, payment(payer, payee, 1))
    await until_told(index, by_ada, ERASED)
    documents = await index.documents("transfers")
    assert personal(documents[by_bob[0]])["description"] == "canary rent"
    assert personal(documents[late[0]]) == {}
    assert [await version_of(index, one) for one in by_ada] == [one + 1 for one in versions]
    found = await index.client.search(
        index=f"{index.prefix}-transfers", query={"match": {"description": "canary"}}
    )
    assert [hit["_source"]["id"] for hit in found["hits"]["hits"]] == by_bob

    async def nothing_left() -> bool:
        return await ledger.rows("SELECT FROM projection.rewrites") == []

    await until(nothing_left)
    await running.stop()


async def test_no_older_copy_brings_back_what_was_erased(
    desk: Desk, project: Callable[[], Running], index: TestIndex, ledger: TestLedger
) -> None:
    _, payer, payee = await desk.core.open(2, owner="ada")
    ids = await post(desk, detailed(payer, payee))
    running = project()
    await index.await_position(ledger)
    before = await index.get(ids[0])
    assert before is not None
    await desk.erase("ada")
    await until_told(index, ids, ERASED)
    await running.stop()
    with pytest.raises(Exception, match="version_conflict"):
        await index.client.index(
            index=before["_index"], id=str(ids[0]), document=before["_source"],
            version=before["_version"], version_type="external_gte",
        )  # fmt: skip
    # From the beginning again, as after the loss of a checkpoint.
    await ledger.execute("DELETE FROM projection.checkpoints")
    project()
    await index.await_position(ledger)
    assert personal((await index.documents("transfers"))[ids[0]]) == ERASED


async def test_without_keys_documents_are_told_without_details_and_made_good_later(
    desk: Desk, signer: DataKeyServer, project: Callable[[], Running], index: TestIndex,
    ledger: TestLedger, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(rewriter, "ASK_AGAIN_MS", 100)
    _, payer, payee = await desk.core.open(2, owner="ada")
    ids = await post(desk, detailed(payer, payee), detailed(payer, payee))
    await signer.stop()
    project()
    await index.await_position(ledger)
    documents = await index.documents("transfers")
    assert [personal(documents[one]) for one in ids] == [WITHHELD, WITHHELD]
    versions = [await version_of(index, one) for one in ids]
    await signer.start()
    await until_told(index, ids, OPEN)
    assert [await version_of(index, one) for one in ids] == versions


async def test_what_is_erased_before_it_is_projected_is_never_in_the_index(
    desk: Desk, project: Callable[[], Running], index: TestIndex, ledger: TestLedger
) -> None:
    _, payer, payee = await desk.core.open(2, owner="ada")
    ids = await post(desk, detailed(payer, payee))
    await desk.erase("ada")
    project()
    await index.await_position(ledger)
    assert personal((await index.documents("transfers"))[ids[0]]) == ERASED

"""What differs between index and ledger is found, told, and mended."""

from __future__ import annotations

import random
from collections.abc import Callable

from prometheus_client import REGISTRY

from projector.settings import ProjectorSettings
from tests.integration.projector.conftest import Running
from tests.integration.projector.index import TestIndex, until
from tests.integration.projector.ledger import Payment, TestLedger, random_payments
from tests.integration.projector.test_rebuild import ask, outcome

Start = Callable[..., Running]


async def test_what_is_equal_is_said_to_be(
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
    rng: random.Random,
) -> None:
    start(settings)
    accounts = await ledger.open_accounts(5)
    await ledger.post(random_payments(rng, accounts, 30))
    await ledger.decline(Payment(accounts[0], accounts[1], 7))
    assert (await outcome(ledger, await ask(ledger, "CHECK"))).startswith("equal: 2 sums, 5 ")


async def test_missing_extra_and_different_documents_are_named_and_mended(
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
) -> None:
    start(settings)
    accounts = await ledger.open_pair()
    lost, changed, *_ = await ledger.post([Payment(*accounts, amount) for amount in range(1, 6)])
    await index.await_position(ledger)

    async def damage(key: int, **fields: object) -> None:
        found = await index.get(key)
        assert found is not None
        await index.client.index(
            index=found["_index"], id=str(key), document={**found["_source"], **fields},
            version=found["_version"], version_type="external_gte", refresh=True,
        )  # fmt: skip

    found = await index.get(lost)
    assert found is not None
    await index.client.index(
        index=found["_index"], id="5", document={**found["_source"], "id": 5}, refresh=True
    )
    await damage(changed, state="REFUNDED")
    account = (await index.documents("accounts"))[accounts[0]]
    held = await index.client.indices.get_alias(name=f"{index.prefix}-accounts")
    await index.client.index(
        index=next(iter(held)), id=str(accounts[0]), document={**account, "balance": 1},
        version=account["version"] + account["revision"] + 1, version_type="external_gte",
        refresh=True,
    )  # fmt: skip
    # Else its version would be remembered for a minute after it was deleted.
    await index.client.indices.put_settings(
        index=found["_index"], settings={"index.gc_deletes": "0s"}
    )
    await index.client.delete(index=found["_index"], id=str(lost), refresh=True)

    told = await outcome(ledger, await ask(ledger, "CHECK"))
    for words in (
        f"missing transfers: {lost}",
        "extra transfers: 5",
        f"different transfers: {changed} (state)",
        f"different accounts: {accounts[0]} (balance)",
        "repaired 0",
    ):
        assert words in told
    labels = {"sink": "elasticsearch"}
    assert REGISTRY.get_sample_value("paycore_projector_drift_documents", labels) == 4
    told = await outcome(ledger, await ask(ledger, "REPAIR"))
    assert "repaired 4" in told
    await index.assert_equals(ledger)
    assert (await outcome(ledger, await ask(ledger, "CHECK"))).startswith("equal")
    assert REGISTRY.get_sample_value("paycore_projector_drift_documents", labels) == 0


async def test_it_is_checked_and_mended_by_itself_now_and_then(
    ledger: TestLedger, index: TestIndex, settings: ProjectorSettings, start: Start
) -> None:
    start(settings.model_copy(update={"check_every_s": 0.5}))
    accounts = await ledger.open_pair()
    [key] = await ledger.post([Payment(*accounts, 1)])
    await index.await_position(ledger)
    found = await index.get(key)
    assert found is not None
    await index.client.index(
        index=found["_index"], id=str(key), document={**found["_source"], "amount": 2,
        "amount_limb0": 2}, version=1, version_type="external_gte", refresh=True,
    )  # fmt: skip

    async def mended() -> bool:
        amount: int = (await index.documents("transfers"))[key]["amount"]
        return amount == 1

    await until(mended)
    await index.assert_equals(ledger)


async def test_a_check_while_payments_go_on_finds_nothing(
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
    rng: random.Random,
) -> None:
    start(settings)
    accounts = await ledger.open_accounts(6)
    await ledger.post(random_payments(rng, accounts, 50))
    request = await ask(ledger, "CHECK")
    while not await ledger.rows(
        "SELECT 1 FROM projection.requests WHERE id = $1 AND ended_at IS NOT NULL", request
    ):
        await ledger.post(random_payments(rng, accounts, 2))
    assert (await outcome(ledger, request)).startswith("equal")

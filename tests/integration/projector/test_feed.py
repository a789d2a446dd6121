"""Everything committed arrives, once, whatever order it was committed in."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from elasticsearch import ApiError
from prometheus_client import REGISTRY

from projector.settings import ProjectorSettings
from tests.integration.projector.conftest import Running
from tests.integration.projector.index import TestIndex, until
from tests.integration.projector.ledger import Payment, TestLedger, random_payments
from tests.support.elastic_proxy import FaultyProxy, Gate

Start = Callable[[ProjectorSettings], Running]


async def test_a_transfer_a_decline_and_both_accounts_can_be_found(
    ledger: TestLedger, index: TestIndex, settings: ProjectorSettings, start: Start
) -> None:
    start(settings)
    debit, credit = await ledger.open_pair()
    details = {"user_id": "u-1", "description": "rent", "metadata": {"a": "b"}}
    [posted] = await ledger.post([Payment(debit, credit, 5_000_000_000_000_000, "r-1", details)])
    declined = await ledger.decline(Payment(debit, credit, 7))
    await ledger.set_status(credit, "FROZEN")
    await index.await_position(ledger)

    transfers = await index.documents("transfers")
    assert transfers.keys() == {posted, declined}
    created_at_us = transfers[posted].pop("created_at_us")
    assert transfers[posted] == {
        "id": posted, "kind": "TRANSFER", "state": "POSTED",
        "debit_account": debit, "credit_account": credit, "accounts": [debit, credit],
        "amount": 5_000_000_000_000_000,
        "amount_limb0": 5_000_000_000_000_000 % 2**21,
        "amount_limb1": 5_000_000_000_000_000 // 2**21 % 2**21,
        "amount_limb2": 5_000_000_000_000_000 // 2**42,
        "currency": "USD", "debit_version": 1, "credit_version": 1,
        "debit_balance_after": -5_000_000_000_000_000,
        "credit_balance_after": 5_000_000_000_000_000,
        "debit_held_after": 0,
        "debit_owner": f"owner-{debit}", "debit_institution": f"bank-{debit % 3}",
        "debit_opened_by": "app",
        "credit_owner": f"owner-{credit}", "credit_institution": f"bank-{credit % 3}",
        "credit_opened_by": "app",
        "client": "app", "reference": "r-1", "step_up": "BELOW_THRESHOLD",
        "created_at": created_at_us // 1000,
        "user_id": "u-1", "description": "rent", "metadata": {"a": "b"},
    }  # fmt: skip
    assert transfers[declined]["state"] == "FAILED"
    assert transfers[declined]["decline_reason"] == "INSUFFICIENT_FUNDS"
    assert transfers[declined]["decline_figures"] == {"available": "0", "requested": "7"}
    assert "debit_balance_after" not in transfers[declined]
    accounts = await index.documents("accounts")
    assert accounts[credit]["status"] == "FROZEN"
    await index.assert_equals(ledger)


async def test_writers_that_commit_out_of_order_lose_nothing(
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
    rng: random.Random,
) -> None:
    start(settings)
    accounts = await ledger.open_accounts(32)
    # It must be polling while they write, or there is nothing to lose.
    await index.await_position(ledger)

    async def write(own: list[int], seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(25):
            payments = random_payments(chance, own, chance.randint(1, 3))
            await ledger.post(payments, hold_s=chance.choice((0.0, 0.01, 0.05, 0.2)))

    # Each writer has accounts of its own, so that none waits for another's locks.
    writers = (write(accounts[n * 4 : n * 4 + 4], rng.randrange(2**32)) for n in range(8))
    await asyncio.gather(*writers)
    await index.await_position(ledger)
    await index.assert_equals(ledger)


async def test_an_open_transaction_holds_the_feed_and_its_rows_come_when_it_ends(
    ledger: TestLedger, index: TestIndex, settings: ProjectorSettings, start: Start
) -> None:
    start(settings)
    slow, fast = await ledger.open_pair(), await ledger.open_pair()
    await index.await_position(ledger)
    end = asyncio.Event()
    held = asyncio.create_task(ledger.post([Payment(*slow, 1)], hold_until=end))
    await asyncio.sleep(0.2)
    await ledger.post([Payment(*fast, 2)])
    await asyncio.sleep(0.8)
    assert await index.documents("transfers") == {}
    labels = {"sink": "elasticsearch"}
    age_s = REGISTRY.get_sample_value("paycore_projector_watermark_age_seconds", labels)
    assert age_s is not None
    assert age_s > 0.5
    told = await index.position()
    assert told is not None
    assert told["refreshed_at_us"] > 0
    end.set()
    await held
    await index.await_position(ledger)
    await index.assert_equals(ledger)
    assert len(await index.documents("transfers")) == 2


async def test_the_position_moves_only_after_a_refresh(
    ledger: TestLedger, index: TestIndex, settings: ProjectorSettings, start: Start
) -> None:
    async with FaultyProxy(settings.elasticsearch_url) as proxy:
        running = start(settings.model_copy(update={"elasticsearch_url": proxy.url}))
        accounts = await ledger.open_pair()
        await index.await_position(ledger)
        before = await index.position()
        proxy.fault = gate = Gate("/_refresh")
        [key] = await ledger.post([Payment(*accounts, 5)])
        await asyncio.wait_for(gate.reached.wait(), 60)
        assert await index.get(key) is not None
        assert await index.documents("transfers") == {}
        assert await index.position() == before
        gate.open.set()
        await index.await_position(ledger)
        assert (await index.documents("transfers")).keys() == {key}
        await running.stop()


async def test_the_position_never_tells_of_what_cannot_be_found(
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
    rng: random.Random,
) -> None:
    start(settings)
    accounts = await ledger.open_accounts(8)
    for _ in range(30):
        await ledger.post(random_payments(rng, accounts, 2))
        told = await index.position()
        if told is None or told["xid"] == 0:
            continue
        found = await index.documents("transfers")
        due = await ledger.rows(
            "SELECT unnest(transfers) AS id FROM ledger.journal WHERE (xid, id) <= ($1, $2)",
            told["xid"],
            told["journal_id"],
        )
        assert {row["id"] for row in due} <= found.keys()
    await index.await_position(ledger)
    await index.assert_equals(ledger)


async def test_a_page_ends_within_a_row_of_its_bound(
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
    rng: random.Random,
) -> None:
    accounts = await ledger.open_accounts(40)
    for size in (1, 7, 1, 30, 2, 2, 5):
        await ledger.post(random_payments(rng, accounts, size))
    start(settings.model_copy(update={"page_entries": 5, "bulk_documents": 3}))
    await index.await_position(ledger)
    await index.assert_equals(ledger)


async def test_time_goes_on_while_the_journal_rests(
    ledger: TestLedger, index: TestIndex, settings: ProjectorSettings, start: Start
) -> None:
    start(settings)
    await ledger.open_accounts(1)
    await index.await_position(ledger)
    before = await index.position()
    assert before is not None

    async def later() -> bool:
        now = await index.position()
        return now is not None and now["source_time_us"] > before["source_time_us"] + 500_000

    await until(later, 5)
    after = await index.position()
    assert after is not None
    assert (after["xid"], after["journal_id"]) == (before["xid"], before["journal_id"])


@pytest.mark.parametrize("kind", ["transfers", "accounts"])
async def test_an_index_that_is_lost_is_filled_from_the_beginning(
    ledger: TestLedger, index: TestIndex, settings: ProjectorSettings, start: Start, kind: str
) -> None:
    start(settings)
    accounts = await ledger.open_pair()
    await ledger.post([Payment(*accounts, 3)])
    await index.await_position(ledger)
    await index.lose(kind)
    await ledger.post([Payment(*accounts, 4)])

    async def refilled() -> bool:
        try:
            return (
                len(await index.documents("transfers"))
                == 2
                == len(await index.documents("accounts"))
            )
        except ApiError as error:
            # Gone, or made this moment.
            if error.status_code not in (404, 503):
                raise
            return False

    await until(refilled, 30)
    await index.await_position(ledger)
    await index.assert_equals(ledger)


async def test_all_indices_lost_while_down_are_filled_from_the_beginning(
    ledger: TestLedger, index: TestIndex, settings: ProjectorSettings, start: Start
) -> None:
    accounts = await ledger.open_pair()
    await ledger.post([Payment(*accounts, 3)])
    first = start(settings)
    await index.await_position(ledger)
    await first.stop()
    for kind in ("transfers", "accounts", "positions"):
        await index.lose(kind)
    start(settings)
    await index.await_position(ledger)
    await index.assert_equals(ledger)

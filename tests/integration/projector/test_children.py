"""What followed a transfer shows in the transfer: its state, and what is left of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import database
from deploy.local import Endpoints
from operations.verify import IndexAddress
from operations.verify.index import Index
from operations.verify.report import Total
from paycore.domain.accounts import AccountId
from paycore.domain.money import MAX_MINOR
from paycore.domain.transfers import (
    Declined,
    Posted,
    RiskDecision,
    RiskVerdict,
    Transfer,
    TransferKind,
    TransferState,
)
from projector.settings import ProjectorSettings
from tests.integration.projector.conftest import Running
from tests.integration.projector.index import TestIndex
from tests.integration.projector.ledger import TestLedger
from tests.support.command_core import CommandCore, follow, payment

Start = Callable[[ProjectorSettings], Running]
CHILDREN = (TransferKind.CAPTURE, TransferKind.RELEASE, TransferKind.REFUND, TransferKind.REVERSAL)


async def post(core: CommandCore, command: Any) -> Posted:
    outcome = await core.one(command)
    assert isinstance(outcome, Posted), outcome
    return outcome


async def hold(
    core: CommandCore, debit: AccountId, credit: AccountId, amount: int, **changes: Any
) -> Transfer:
    command = payment(debit, credit, amount, kind=TransferKind.HOLD, **changes)
    return (await post(core, command)).transfer


async def test_each_step_shows_in_the_parent_as_soon_as_its_position_is_told(
    core: CommandCore,
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
) -> None:
    start(settings)
    _, payer, payee = await core.open(2)

    async def stands(step: Posted, parent: Transfer) -> tuple[str, int]:
        assert step.position is not None
        await index.await_told(step.position)
        found = (await index.documents("transfers"))[parent.id]
        return found["state"], found["remaining"]

    held = await post(core, payment(payer, payee, 500, kind=TransferKind.HOLD))
    parent = held.transfer
    assert await stands(held, parent) == ("HELD", 500)
    accounts = await index.documents("accounts")
    assert (accounts[payer]["held"], accounts[payer]["balance"]) == (500, 1_000)

    part = await post(core, follow(parent, TransferKind.CAPTURE, 200, final=False))
    assert await stands(part, parent) == ("PARTIALLY_CAPTURED", 300)
    rest = await post(core, follow(parent, TransferKind.CAPTURE, 250))
    assert await stands(rest, parent) == ("CAPTURED", 0)
    captured = (await index.documents("transfers"))[rest.transfer.id]
    assert (captured["released"], captured["parent_sequence"]) == (50, 2)
    accounts = await index.documents("accounts")
    assert (accounts[payer]["held"], accounts[payer]["balance"]) == (0, 550)

    back = await post(core, follow(part.transfer, TransferKind.REFUND, 50))
    assert await stands(back, part.transfer) == ("PARTIALLY_REFUNDED", 150)
    # A grandchild changes its parent alone.
    assert await stands(back, parent) == ("CAPTURED", 0)
    back = await post(core, follow(part.transfer, TransferKind.REFUND))
    assert await stands(back, part.transfer) == ("REFUNDED", 0)
    undone = await post(core, follow(rest.transfer, TransferKind.REVERSAL))
    assert await stands(undone, rest.transfer) == ("REVERSED", 0)
    await index.await_position(ledger)
    await index.assert_equals(ledger)


async def test_every_way_in_which_a_hold_ends_has_a_state(
    core: CommandCore,
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
) -> None:
    start(settings)
    _, payer, payee = await core.open(2)
    soon_us = core.clock.now_us() + 300_000
    expiring = await hold(core, payer, payee, 10, expires_at_us=soon_us)
    freed = await hold(core, payer, payee, 20)
    verdict = RiskVerdict(RiskDecision.REVIEW, "new-payee")
    waiting = (await post(core, payment(payer, payee, 30, risk=verdict))).transfer
    await post(core, follow(freed, TransferKind.RELEASE))
    refused = follow(
        waiting,
        TransferKind.RELEASE,
        client="operator",
        review=True,
        released_as=TransferState.ROLLED_BACK,
    )
    await post(core, refused)
    await asyncio.sleep(max(0, soon_us - core.clock.now_us()) / 1e6)
    late = await core.one(follow(expiring, TransferKind.CAPTURE))
    assert isinstance(late, Declined)
    await post(core, follow(expiring, TransferKind.RELEASE, released_as=TransferState.EXPIRED))
    await index.await_position(ledger)
    found = await index.documents("transfers")
    states = {key: found[key.id]["state"] for key in (expiring, freed, waiting)}
    assert states == {expiring: "EXPIRED", freed: "RELEASED", waiting: "ROLLED_BACK"}
    assert (found[waiting.id]["kind"], found[waiting.id]["review"]) == ("HOLD", "new-payee")
    assert found[expiring.id]["expires_at_us"] == soon_us
    decline = found[late.decline.id]
    assert (decline["state"], decline["parent_id"]) == ("FAILED", expiring.id)
    await index.assert_equals(ledger)


async def test_a_child_that_was_posted_while_the_projector_was_down_shows_after_its_start(
    core: CommandCore,
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
) -> None:
    first = start(settings)
    _, payer, payee = await core.open(2)
    held = await hold(core, payer, payee, 500)
    await index.await_position(ledger)
    await first.stop()
    taken = (await post(core, follow(held, TransferKind.CAPTURE, 400))).transfer
    second = start(settings)
    await index.await_position(ledger)
    assert (await index.documents("transfers"))[held.id]["state"] == "CAPTURED"
    await second.cut()
    await post(core, follow(taken, TransferKind.REFUND, 1))
    start(settings)
    await index.await_position(ledger)
    found = await index.documents("transfers")
    assert found[held.id]["state"] == "CAPTURED"
    assert (found[taken.id]["state"], found[taken.id]["remaining"]) == ("PARTIALLY_REFUNDED", 399)
    await index.assert_equals(ledger)


async def caller(core: CommandCore, accounts: Sequence[AccountId], seed: int) -> None:
    """Pay, hold, and follow what was posted, at random."""
    chance = random.Random(seed)
    posted: list[Transfer] = []
    for _ in range(30):
        if posted and chance.random() < 0.6:
            parent = chance.choice(posted)
            kind = chance.choice(CHILDREN)
            whole = kind in (TransferKind.RELEASE, TransferKind.REVERSAL)
            amount = None if whole else chance.choice((None, 1, 2, 5))
            command: Any = follow(parent, kind, amount, final=chance.random() < 0.3)
        else:
            debit, credit = chance.sample(accounts, 2)
            kind = chance.choice((TransferKind.TRANSFER, TransferKind.HOLD, TransferKind.HOLD))
            command = payment(debit, credit, chance.randint(1, 20), kind=kind)
        outcome = await core.one(command)
        if isinstance(outcome, Posted):
            posted.append(outcome.transfer)


@pytest.mark.parametrize("page_entries", [1, 4_000])
async def test_random_children_from_many_callers_leave_the_index_equal_to_the_ledger(
    core: CommandCore,
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
    rng: random.Random,
    page_entries: int,
) -> None:
    running = start(settings.model_copy(update={"page_entries": page_entries}))
    _, *accounts = await core.open(6)

    callers = (caller(core, accounts, rng.randrange(2**32)) for _ in range(8))
    await asyncio.gather(*callers)
    states = await ledger.rows("SELECT DISTINCT parent_state::text AS state FROM ledger.transfers")
    assert len(states) >= 5, "too little happened for the comparison to mean anything"
    await index.await_position(ledger)
    await index.assert_equals(ledger)
    # Filled anew, in other pages and with all children there from the first, it is the same.
    await running.stop()
    before = await index.documents("transfers")
    for kind in ("transfers", "accounts", "positions"):
        await index.lose(kind)
    start(settings)
    await index.await_position(ledger)
    assert await index.documents("transfers") == before


async def test_random_programs_leave_the_index_equal_though_the_projector_dies_at_random(
    core: CommandCore,
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
    rng: random.Random,
) -> None:
    _, *accounts = await core.open(6)
    pages = settings.model_copy(update={"page_entries": 7, "bulk_documents": 5})

    async def freeze_and_thaw() -> None:
        for _ in range(10):
            account = rng.choice(accounts)
            await ledger.set_status(account, "FROZEN")
            await asyncio.sleep(0.02)
            await ledger.set_status(account, "ACTIVE")

    programs = [caller(core, accounts, rng.randrange(2**32)) for _ in range(6)]
    working = asyncio.gather(*programs, freeze_and_thaw())
    while not working.done():
        running = start(pages)
        await asyncio.sleep(rng.uniform(0.1, 1.5))
        await running.cut()
    await working
    # Again from an earlier place: what is read twice changes nothing.
    await ledger.execute(
        "UPDATE projection.checkpoints SET (xid, journal_id) ="
        " (SELECT xid, id FROM ledger.journal ORDER BY xid OFFSET 3 LIMIT 1)"
    )
    start(pages)
    await index.await_position(ledger)
    await index.assert_equals(ledger)


async def test_count_and_sum_by_kind_agree_whatever_the_states_became(
    core: CommandCore,
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
    endpoints: Endpoints,
) -> None:
    start(settings)
    _, payer, payee = await core.open(2)
    held = await hold(core, payer, payee, 500)
    paid = (await post(core, payment(payer, payee, 20))).transfer
    await post(core, follow(held, TransferKind.CAPTURE, 400))
    await post(core, follow(paid, TransferKind.REFUND, 3))
    assert isinstance(await core.one(follow(held, TransferKind.CAPTURE)), Declined)
    await index.await_position(ledger)
    address = IndexAddress(
        endpoints.elasticsearch_url,
        endpoints.elasticsearch_user,
        endpoints.elasticsearch_password,
        index.prefix,
    )
    async with Index(address) as totals_of_index, ledger.pool.acquire() as connection:
        found = await totals_of_index.totals(MAX_MINOR)
        rows = await database.load("verify").totals(connection, from_us=0, before_us=MAX_MINOR)
    stored = [Total(row["state"], row["currency"], row["items"], int(row["total"])) for row in rows]
    assert found == stored
    assert {total.state: (total.items, total.total) for total in found} == {
        "DEPOSIT": (2, 2_000), "HOLD": (1, 500), "TRANSFER": (1, 20), "CAPTURE": (1, 400),
        "REFUND": (1, 3), "FAILED": (1, 500),
    }  # fmt: skip

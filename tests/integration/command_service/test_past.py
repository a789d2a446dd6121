"""How far back a payer's debits are read, and what cannot be told beyond that."""

from __future__ import annotations

import pytest

from command_service.accounts.commands import AccountStored
from command_service.posting import past
from command_service.posting.past import PastReader
from paycore.domain.accounts import AccountId
from paycore.domain.past import PastRead, PastWanted, Spent
from paycore.domain.step_up_policy import DAY_US
from tests.integration.command_service.test_step_up_policy import APP, DAY_S
from tests.support.clocks import ManualClock
from tests.support.command_core import CommandCore, command_core, opening, payment, posted
from tests.support.databases import OwnDatabase

PAGES = (2, 3)
"""Five debits in all."""

MORNING_S = 20_000 * DAY_S + 3_600


async def read(core: CommandCore, payer: AccountId, *payees: AccountId) -> PastRead:
    """What `payer` paid today, and which of `payees` it has paid."""
    accounts = await core.accounts.read_many([payer])
    wanted = PastWanted(frozenset({payer}), frozenset((payer, one) for one in payees))
    async with core.pool.acquire() as connection:
        return await PastReader(core.clock).read(connection, wanted, accounts)


async def spent(core: CommandCore, payer: AccountId) -> Spent:
    return (await read(core, payer)).spent[payer]


async def open_two(core: CommandCore) -> tuple[AccountId, AccountId, AccountId]:
    """A payer with an overdraft, and two payees."""
    outcomes = await core.open_accounts(
        [opening(client=APP, overdraft_limit=1_000), opening(client=APP), opening(client=APP)]
    )
    payer, one, other = (
        outcome.account.id for outcome in outcomes if isinstance(outcome, AccountStored)
    )
    return payer, one, other


async def test_a_day_is_counted_to_the_last_debit_that_is_read_and_not_beyond(
    database: OwnDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "PAGES", PAGES)
    clock = ManualClock(MORNING_S)
    async with command_core(database.dsn("command"), clock=clock) as core:
        payer, payee, _ = await open_two(core)
        today = clock.now_us() // DAY_US
        for paid in range(1, 5):
            posted([await core.one(payment(payer, payee, paid, client=APP))])
            assert await spent(core, payer) == Spent(today, sum(range(1, paid + 1)))
        # The last page is full: there may be more.
        posted([await core.one(payment(payer, payee, 5, client=APP))])
        assert await spent(core, payer) == Spent(today, None)
        # What is of the day before is not counted, however much of it there is.
        clock.at_s += DAY_S
        await core.rules.load()
        assert await spent(core, payer) == Spent(today + 1, 0)
        posted([await core.one(payment(payer, payee, 7, client=APP))])
        assert await spent(core, payer) == Spent(today + 1, 7)


async def test_a_payee_is_looked_for_as_far_back_as_all_pages_reach(
    database: OwnDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "PAGES", PAGES)
    async with command_core(database.dsn("command"), clock=ManualClock(MORNING_S)) as core:
        payer, first, others = await open_two(core)
        posted([await core.one(payment(payer, first, 1, client=APP))])
        for _ in range(4):
            posted([await core.one(payment(payer, others, 1, client=APP))])
            assert (await read(core, payer, first)).paid == {(payer, first)}
        posted([await core.one(payment(payer, others, 1, client=APP))])
        assert (await read(core, payer, first, others)).paid == {(payer, others)}

"""What payers did before, as policy reads it: on real tables, over days, across processes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from command_service.posting.past import PAGES
from deploy.local import Endpoints
from paycore.domain.accounts import AccountId, AccountKind
from paycore.domain.errors import Reason
from paycore.domain.step_up_policy import DAY_US
from paycore.domain.transfers import (
    ChildCommand,
    Command,
    GroupCommand,
    Outcome,
    Posted,
    Refused,
    StepUpBasis,
    TransferKind,
)
from tests.support.callers import Caller, Callers, refusal_of
from tests.support.callers import payment as request
from tests.support.clocks import ShiftedClock
from tests.support.command_core import CommandCore, command_core, opening, payment
from tests.support.command_process import command_process
from tests.support.databases import OwnDatabase
from tests.support.ledger_checks import violations
from tests.support.samples import approved_payment

APP = "app"
"""May do everything with its own accounts, and is not exempt."""

AT_ONCE = 50
DAY_S = DAY_US / 1e6


async def set_policy(
    admin: asyncpg.Connection,
    threshold: int,
    first: int | None = None,
    daily: int | None = None,
) -> None:
    """Set the policy of EUR."""
    await admin.execute(
        "UPDATE ledger.step_up_policies SET threshold = $1, first_payment_threshold = $2,"
        " daily_total = $3 WHERE currency = 'EUR'",
        threshold,
        first,
        daily,
    )


def clear_of_midnight() -> None:
    """Wait until the day of UTC lasts longer than a test."""
    left_s = DAY_S - time.time() % DAY_S
    if left_s < 60:
        time.sleep(left_s + 1)


@dataclass
class Payers:
    """A core, and customers of APP's on it."""

    core: CommandCore
    clock: ShiftedClock
    admin: asyncpg.Connection
    customers: list[AccountId]

    async def policy(self, *amounts: Any, **named: Any) -> None:
        await set_policy(self.admin, *amounts, **named)
        await self.core.rules.load()

    def pay(self, payer: int, payee: int, amount: int, **changes: Any) -> Any:
        return payment(
            self.customers[payer],
            self.customers[payee],
            amount,
            **{"client": APP, **changes},
        )

    async def rules_of(self, *commands: Command) -> list[str]:
        """The basis on which each was posted, or the rule that asks for an approval."""
        return [self.told(one) for one in await self.core.submit(*commands)]

    def told(self, outcome: Outcome) -> str:
        match outcome:
            case Posted(transfer=transfer):
                return transfer.step_up.value
            case Refused(error=error):
                assert error.reason is Reason.STEP_UP_REQUIRED, error
                return error.metadata["rule"]
            case _:
                raise AssertionError(outcome)


@pytest.fixture
async def payers(database: OwnDatabase, admin: asyncpg.Connection) -> AsyncIterator[Payers]:
    clear_of_midnight()
    clock = ShiftedClock(wall_only=True)
    async with command_core(database.dsn("command"), clock=clock) as core:
        outcomes: list[Any] = await core.open_accounts(
            [
                opening(client=APP, kind=AccountKind.EXTERNAL),
                *(opening(client=APP, owner=f"owner-{one}") for one in range(4)),
            ]
        )
        outside, *customers = [one.account.id for one in outcomes]
        deposits = [
            payment(outside, one, 1_000_000, client=APP, kind=TransferKind.DEPOSIT)
            for one in customers
        ]
        assert all(isinstance(one, Posted) for one in await core.submit(*deposits))
        yield Payers(core, clock, admin, customers)
    assert await violations(admin) == []


BELOW, DAILY, FIRST = "BELOW_THRESHOLD", "DAILY_TOTAL", "FIRST_PAYMENT"


async def test_a_days_total_is_read_from_what_was_posted(payers: Payers) -> None:
    await payers.policy(100, daily=250)
    for expected in (BELOW, BELOW, DAILY):
        assert await payers.rules_of(payers.pay(0, 1, 100)) == [expected]
    assert await payers.rules_of(payers.pay(0, 2, 51), payers.pay(1, 0, 100)) == [DAILY, BELOW]
    assert await payers.rules_of(payers.pay(0, 2, 50)) == [BELOW]
    assert await payers.rules_of(payers.pay(0, 2, 1)) == [DAILY]


async def test_midnight_begins_anew(payers: Payers) -> None:
    await payers.policy(100, daily=100)
    assert await payers.rules_of(payers.pay(0, 1, 100), payers.pay(0, 1, 1)) == [BELOW, DAILY]
    payers.clock.shift_s += DAY_S
    assert await payers.rules_of(payers.pay(0, 1, 100), payers.pay(0, 1, 1)) == [BELOW, DAILY]
    # A clock that steps back does not open the day before again, nor the one that has begun.
    payers.clock.shift_s -= DAY_S
    assert await payers.rules_of(payers.pay(0, 1, 1)) == [DAILY]
    payers.clock.shift_s += 2 * DAY_S
    assert await payers.rules_of(payers.pay(0, 1, 100)) == [BELOW]


async def test_holds_count_once_and_what_was_approved_or_exempt_not_at_all(
    payers: Payers,
) -> None:
    await payers.policy(100, daily=200)
    expires_at_us = payers.clock.now_us() + 60_000_000
    hold = payers.pay(0, 1, 100, kind=TransferKind.HOLD, expires_at_us=expires_at_us)
    (held,) = await payers.core.submit(hold)
    assert isinstance(held, Posted)
    payer, payee = payers.customers[:2]
    capture = ChildCommand(
        APP, "c", b"c", TransferKind.CAPTURE, held.transfer.id, payer, payee, hold.currency
    )
    assert await payers.rules_of(capture) == ["NOT_APPLICABLE"]
    asked = payers.pay(0, 1, 5_000)
    approved = approved_payment(asked, "owner-0", expires_at_us=payers.clock.now_us() + 60_000_000)
    assert await payers.rules_of(approved) == ["AUTHORIZED"]
    await payers.admin.execute(
        "INSERT INTO ledger.grants (client, action, scope) VALUES"
        " ('loadtest', 'TRANSFER', 'ALL'), ('loadtest', 'STEP_UP_EXEMPT', 'ALL')"
    )
    await payers.core.rules.load()
    exempt = payers.pay(0, 1, 90, client="loadtest")
    assert await payers.rules_of(exempt) == ["CLIENT_EXEMPT"]
    assert await payers.rules_of(payers.pay(0, 1, 100), payers.pay(0, 1, 1)) == [BELOW, DAILY]


async def test_what_a_client_takes_counts_towards_the_day_that_does_not_ask_for_it(
    payers: Payers,
) -> None:
    await payers.policy(100, daily=250)

    def fee(amount: int) -> Any:
        return payers.pay(0, 1, amount, kind=TransferKind.FEE)

    assert await payers.rules_of(fee(101)) == ["THRESHOLD"]
    for amount in (100, 100, 50):
        assert await payers.rules_of(fee(amount)) == [BELOW]
    # As read, and within one batch.
    assert await payers.rules_of(payers.pay(0, 1, 1), fee(100)) == [DAILY, BELOW]
    assert await payers.rules_of(payers.pay(1, 0, 100), payers.pay(0, 1, 1)) == [BELOW, DAILY]
    both = (payers.pay(2, 1, 100), payers.pay(2, 1, 100, kind=TransferKind.FEE))
    assert await payers.rules_of(*both, payers.pay(2, 1, 51)) == [BELOW, BELOW, DAILY]


async def test_a_day_of_many_debits_is_counted_whole(payers: Payers) -> None:
    await payers.policy(10_000, daily=None)
    many = PAGES[0] + PAGES[1] + 5
    assert set(await payers.rules_of(*(payers.pay(0, 1, 2) for _ in range(many)))) == {BELOW}
    await payers.policy(10_000, daily=2 * many + 1)
    assert await payers.rules_of(payers.pay(0, 1, 2)) == [DAILY]
    assert await payers.rules_of(payers.pay(0, 1, 1)) == [BELOW]


async def test_a_payee_is_new_until_money_has_reached_it(payers: Payers) -> None:
    await payers.policy(100, first=30)
    assert await payers.rules_of(payers.pay(0, 1, 31)) == [FIRST]
    assert await payers.rules_of(payers.pay(0, 1, 30)) == [BELOW]
    assert await payers.rules_of(payers.pay(0, 1, 100), payers.pay(0, 2, 31)) == [BELOW, FIRST]
    # Far back, too.
    among = PAGES[0] + 4
    await payers.rules_of(*(payers.pay(0, 3, 1) for _ in range(among)))
    assert await payers.rules_of(payers.pay(0, 1, 100), payers.pay(1, 0, 31)) == [BELOW, FIRST]


async def test_a_group_counts_as_one_payment_against_the_day(payers: Payers) -> None:
    await payers.policy(100, daily=150)
    assert await payers.rules_of(payers.pay(0, 1, 100)) == [BELOW]

    def group(key: str, *amounts: int) -> GroupCommand:
        items = (payers.pay(0, 1, one, key="", request_hash=b"") for one in amounts)
        return GroupCommand(APP, key, b"g", tuple(items))

    assert await payers.rules_of(group("a", 25, 26)) == [DAILY]
    (outcome,) = await payers.core.submit(group("b", 25, 25))
    assert not isinstance(outcome, Refused)
    assert await payers.rules_of(payers.pay(0, 1, 1)) == [DAILY]


async def test_a_stored_outcome_is_told_whatever_policy_says_now(payers: Payers) -> None:
    await payers.policy(100, daily=100)
    asked = payers.pay(0, 1, 100)
    assert await payers.rules_of(asked) == [BELOW]
    (again,) = await payers.core.submit(asked)
    assert isinstance(again, Posted)
    assert again.replayed
    await payers.policy(0)
    (again,) = await payers.core.submit(asked)
    assert isinstance(again, Posted)


async def test_beside_an_outcome_that_is_stored_the_day_of_who_pays_anew_is_counted(
    payers: Payers,
) -> None:
    await payers.policy(1_000, daily=100)
    asked = payers.pay(0, 1, 60)
    assert await payers.rules_of(asked) == [BELOW]
    # In one batch: the past is read of those that are decided now.
    assert await payers.rules_of(asked, payers.pay(0, 1, 60), payers.pay(2, 1, 60)) == [
        BELOW, DAILY, BELOW
    ]  # fmt: skip


@dataclass
class Fleet:
    """Two processes of the command service, on ports of their own."""

    admin: asyncpg.Connection
    callers: tuple[Caller, Caller]

    async def at_once(self, payments: list[Any]) -> Counter[str]:
        """How the payments come out, asked for together of both."""

        async def outcome(at: int, one: Any) -> str:
            refusal = await refusal_of(self.callers[at % 2].submit(one))
            if refusal is None:
                return BELOW
            assert refusal.reason == "STEP_UP_REQUIRED", refusal
            assert refusal.error is not None
            return refusal.error.metadata["rule"]

        return Counter(await asyncio.gather(*(outcome(*one) for one in enumerate(payments))))


@pytest.fixture
async def fleet(
    endpoints: Endpoints, database: OwnDatabase, admin: asyncpg.Connection, tmp_path: Path
) -> AsyncIterator[Fleet]:
    clear_of_midnight()
    await set_policy(admin, 1_000, first=300, daily=700)
    async with AsyncExitStack() as stack:
        callers = []
        for name in ("first", "second"):
            target, _ = await stack.enter_async_context(
                command_process(
                    endpoints, tmp_path / f"{name}.log", POSTGRES_DSN=database.dsn("command")
                )
            )
            opened = await stack.enter_async_context(Callers(endpoints, command_target=target))
            callers.append(opened.of(APP))
        yield Fleet(admin, (callers[0], callers[1]))
    assert await violations(admin) == []


async def test_payments_at_once_in_two_processes_cannot_slip_under_together(fleet: Fleet) -> None:
    _, payer, *payees = await fleet.callers[0].open(6, balance=1_000_000)
    payments = [request(payer, payees[at % 5], 100) for at in range(AT_ONCE)]
    assert await fleet.at_once(payments) == {BELOW: 7, DAILY: AT_ONCE - 7}
    assert await posted_by(fleet.admin, payer) == [(100, BELOW)] * 7

    # One small payment makes the payee known; before it none that is large may pass.
    _, payer, payee = await fleet.callers[0].open(2, balance=1_000_000)
    payments = [request(payer, payee, 301) for _ in range(AT_ONCE)]
    assert await fleet.at_once(payments) == {FIRST: AT_ONCE}
    payments[AT_ONCE // 2 :] = [request(payer, payee, 1)]
    await fleet.at_once(payments)
    amounts = [amount for amount, _ in await posted_by(fleet.admin, payer)]
    assert amounts[0] == 1
    assert sum(amounts) <= 700


async def posted_by(admin: asyncpg.Connection, payer: int) -> list[tuple[int, str]]:
    """Amount and basis of the payer's debits, in order."""
    rows = await admin.fetch(
        "SELECT amount, step_up::text FROM ledger.transfers WHERE debit_account = $1"
        " ORDER BY debit_version",
        payer,
    )
    return [tuple(row) for row in rows]


def test_the_bases_named_here_are_those_recorded() -> None:
    assert StepUpBasis.BELOW_THRESHOLD.value == BELOW

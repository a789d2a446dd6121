"""Accounts to move money between: opened and funded through the ordinary calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from paycore.client import (
    Account,
    AccountKind,
    BulkReceipt,
    Money,
    NewAccount,
    PaycoreClient,
    RefusedItem,
    TransferKind,
    TransferOrder,
    TransferReceipt,
)
from paycore.client.errors import RefusedError
from paycore.client.model import AccountReceipt

BATCH = 500
BATCHES_IN_FLIGHT = 2

Item = TypeVar("Item")
Receipt = TypeVar("Receipt", AccountReceipt, TransferReceipt)
Advance = Callable[[int], None]
"""Told how many more items are done."""


@dataclass(frozen=True, slots=True)
class Population:
    """Customer accounts by currency, and each currency's EXTERNAL account."""

    customers: Mapping[str, Sequence[Account]]
    outside: Mapping[str, Account]


@dataclass(frozen=True, slots=True)
class Opening:
    """An account to open and what to deposit with it, in minor units."""

    account: NewAccount
    deposit: int


async def open_population(
    client: PaycoreClient, openings: Sequence[Opening], run: str, advance: Advance
) -> Population:
    """Open every account and an EXTERNAL one per currency. Keys begin with `run`.

    Raises RefusedError when any account is refused.
    """
    currencies = sorted({opening.account.currency for opening in openings})
    wanted = [
        NewAccount(f"{run}-outside", "outside", currency, kind=AccountKind.EXTERNAL)
        for currency in currencies
    ] + [opening.account for opening in openings]
    keyed = [
        replace(account, idempotency_key=f"{run}-open-{number}")
        for number, account in enumerate(wanted)
    ]
    receipts = await _in_batches(keyed, client.create_accounts, advance)
    accounts = [receipt.account for receipt in receipts]
    customers: dict[str, list[Account]] = {currency: [] for currency in currencies}
    for account in accounts[len(currencies) :]:
        customers[account.currency].append(account)
    outside = dict(zip(currencies, accounts[: len(currencies)], strict=True))
    return Population(customers, outside)


async def fund(
    client: PaycoreClient,
    population: Population,
    deposits: Iterable[tuple[Account, int]],
    run: str,
    advance: Advance,
) -> list[TransferReceipt]:
    """Deposit with each account, from the world outside. Keys begin with `run`.

    Raises RefusedError when any deposit is refused.
    """
    orders = [
        TransferOrder(
            debit_account=population.outside[account.currency].id,
            credit_account=account.id,
            amount=Money(amount, account.currency),
            kind=TransferKind.DEPOSIT,
            idempotency_key=f"{run}-fund-{account.id}",
        )
        for account, amount in deposits
        if amount > 0
    ]
    return await _in_batches(orders, client.submit_transfers, advance)


async def _in_batches(
    items: Sequence[Item],
    send: Callable[[Sequence[Item]], Awaitable[BulkReceipt[Receipt]]],
    advance: Advance,
) -> list[Receipt]:
    room = asyncio.Semaphore(BATCHES_IN_FLIGHT)

    async def send_batch(batch: Sequence[Item]) -> list[Receipt]:
        async with room:
            receipt = await send(batch)
        advance(len(batch))
        return [_accepted(outcome) for outcome in receipt.outcomes]

    batches = [items[start : start + BATCH] for start in range(0, len(items), BATCH)]
    done = await asyncio.gather(*(send_batch(batch) for batch in batches))
    return [receipt for batch in done for receipt in batch]


def _accepted(outcome: Receipt | RefusedItem) -> Receipt:
    if isinstance(outcome, RefusedItem):
        error: RefusedError = outcome.error
        raise error
    return outcome

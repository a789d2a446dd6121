"""The mass of payments: many at once, some one by one and some in bulk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from operations.demo.tally import Tally
from operations.load.measure import OK, outcome_name
from paycore.client import PaycoreClient, RefusedItem, TransferOrder
from paycore.client.errors import ClientError


@dataclass(frozen=True, slots=True)
class Mix:
    """How many transfers go one by one and how many in requests of `batch`, by how many workers."""

    one_by_one: int
    in_bulk: int
    unary_workers: int = 32
    bulk_workers: int = 4
    batch: int = 100

    @property
    def transfers(self) -> int:
        return self.one_by_one + self.in_bulk


async def run_traffic(
    client: PaycoreClient,
    orders: Iterator[TransferOrder],
    mix: Mix,
    tally: Tally,
    advance: Callable[[int], None],
) -> None:
    """Send every transfer of `mix`, entering each outcome in `tally` and telling `advance`."""
    unary = islice(orders, mix.one_by_one)
    bulk = islice(orders, mix.in_bulk)

    async def send_one_by_one() -> None:
        for order in unary:
            try:
                receipt = await client.submit_transfer(order)
            except ClientError as error:
                tally.outcomes[outcome_name(error)] += 1
            else:
                tally.outcomes[OK] += 1
                tally.posted(receipt.transfer)
            advance(1)

    async def send_in_bulk() -> None:
        while batch := list(islice(bulk, mix.batch)):
            try:
                receipt = await client.submit_transfers(batch)
            except ClientError as error:
                tally.outcomes[outcome_name(error)] += len(batch)
            else:
                for outcome in receipt.outcomes:
                    if isinstance(outcome, RefusedItem):
                        tally.outcomes[outcome_name(outcome.error)] += 1
                    else:
                        tally.outcomes[OK] += 1
                        tally.posted(outcome.transfer)
            advance(len(batch))

    async with asyncio.TaskGroup() as group:
        for _ in range(mix.unary_workers):
            group.create_task(send_one_by_one())
        for _ in range(mix.bulk_workers):
            group.create_task(send_in_bulk())

"""An index of random transfers over a quarter of a year, made of the projector's documents."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from elasticsearch import AsyncElasticsearch

from projector.documents import decline_document, transfer_document
from projector.sinks.elastic_mappings import definition

PREFIX = "analytics-bench"
BANKS = 200
ACCOUNTS = 20_000
FIRST_ACCOUNT = 7 * 10**18
START_US = 1_790_000_000_000_000
DAYS = 90
DURATION_US = DAYS * 86_400_000_000
CURRENCIES = {"EUR": 50, "USD": 25, "JPY": 10, "GBP": 10, "BHD": 5}
KINDS = {
    "TRANSFER": 70, "DEPOSIT": 4, "WITHDRAWAL": 3, "HOLD": 6, "CAPTURE": 5, "RELEASE": 1,
    "REFUND": 3, "REVERSAL": 1, "FEE": 7,
}  # fmt: skip
DECLINED = 0.02

_BULK = 5_000
_REFRESH_EVERY = 200_000
_AT_ONCE = 2
_NOT_HERE: dict[str, Any] = dict.fromkeys(
    (
        "reference", "effective_at_us", "parent_id", "group_id", "credit_version",
        "credit_balance_after", "authorization_id", "parent_sequence", "parent_remaining",
        "parent_state", "released", "expires_at_us", "review",
    )
)  # fmt: skip


async def fill(
    client: AsyncElasticsearch, transfers: int, chance: random.Random, tell: Callable[[int], None]
) -> None:
    """Make the index and fill it, refreshing as the projector does while it catches up."""

    await client.indices.create(index=f"{PREFIX}-transfers", **definition("transfers"))
    under_way: set[asyncio.Task[None]] = set()
    lines: list[bytes] = []
    for number, line in enumerate(_documents(transfers, chance), start=1):
        lines += line
        if len(lines) >= 2 * _BULK or number == transfers:
            under_way.add(asyncio.create_task(_send(client, lines)))
            lines = []
            tell(number)
        if len(under_way) >= _AT_ONCE:
            done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        if number % _REFRESH_EVERY == 0:
            await client.indices.refresh(index=f"{PREFIX}-transfers")
    await asyncio.gather(*under_way)
    await client.indices.refresh(index=f"{PREFIX}-transfers")


async def _send(client: AsyncElasticsearch, lines: Any) -> None:
    reply = await client.bulk(index=f"{PREFIX}-transfers", body=lines, filter_path="errors")
    if reply["errors"]:
        raise AssertionError("a document was refused")


def _documents(transfers: int, chance: random.Random) -> Iterator[tuple[bytes, bytes]]:
    accounts: dict[str, list[int]] = {currency: [] for currency in CURRENCIES}
    sides = {}
    for account in range(FIRST_ACCOUNT, FIRST_ACCOUNT + ACCOUNTS):
        [currency] = chance.choices(list(CURRENCIES), list(CURRENCIES.values()))
        accounts[currency].append(account)
        bank = f"bank-{account % BANKS}"
        sides[account] = {"owner": "someone", "institution": bank, "opened_by": "app"}
    currencies = chance.choices(list(CURRENCIES), list(CURRENCIES.values()), k=transfers)
    kinds = chance.choices(list(KINDS), list(KINDS.values()), k=transfers)
    for number, (currency, kind) in enumerate(zip(currencies, kinds, strict=True)):
        debit, credit = chance.sample(accounts[currency], 2)
        row = {
            **_NOT_HERE,
            "id": number + 1,
            "kind": kind,
            "debit_account": debit,
            "credit_account": credit,
            # Mostly small change; what ten thousand times more would be is rare.
            "amount": int(10 ** chance.uniform(1, 6.5 if chance.random() < 0.999 else 12)),
            "currency": currency,
            "client": "app",
            "created_at_us": START_US + DURATION_US * number // transfers,
            "debit_version": 1,
            "debit_balance_after": 0,
            "debit_held_after": 0,
            "step_up": "BELOW_THRESHOLD",
            "erasures": 0,
        }
        if chance.random() < DECLINED:
            document = decline_document(
                {**row, "reason": "INSUFFICIENT_FUNDS", "figures": "{}"}, sides
            )
        else:
            document = transfer_document(row, sides, None)
        yield json.dumps({"index": {"_id": str(document.id)}}).encode(), document.body

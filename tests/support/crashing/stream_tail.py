"""Whether the tail of the Redis stream that is kept is the tail of the journal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import redis.asyncio as redis

from tests.support.crashing.tables import Decline, Tables, Transfer

Entry = tuple[str, Mapping[str, str]]
"""An entry's id, and its fields."""

NAMED = (
    "event", "state", "id", "kind", "currency", "amount", "debit_account", "credit_account",
    "debit_version", "credit_version", "parent_id", "parent_state", "released", "group_id",
    "reason", "created_at_us", "previous",
)  # fmt: skip
"""The fields that are compared: all but those that no row of `Tables` tells."""


PAGE = 2_000
"""Entries that are read at a time: all at once may take longer than a reply may."""


class Due(NamedTuple):
    """An entry that the journal wants. Its fields are spelt out when they are compared: there may
    be many more of them than the stream keeps."""

    name: str
    row: Transfer | Decline
    previous: str

    @property
    def fields(self) -> Mapping[str, str]:
        """All of NAMED."""
        told = _transfer(self.row) if isinstance(self.row, Transfer) else _decline(self.row)
        return {**told, "previous": self.previous}


def due_entries(tables: Tables) -> list[Due]:
    """What a stream that was never trimmed would hold."""
    transfers = {row.id: row for row in tables.transfers}
    declines = {row.id: row for row in tables.declines}
    found: list[Due] = []
    previous, xid, number = "0-0", 0, 0
    for row in tables.journal:
        if row.xid != xid:
            xid, number = row.xid, 0
        for one in (*row.transfers, *row.declines):
            number += 1
            name = f"{xid}-{number}"
            found.append(Due(name, transfers[one] if one in transfers else declines[one], previous))
            previous = name
    return found


def tail_breaches(kept: Sequence[Entry], due: Sequence[Due]) -> Iterator[str]:
    """What is wrong with `kept`, which must be the end of `due`."""
    if not kept and due:
        yield "the stream is empty"
        return
    for (name, fields), wanted in zip(reversed(kept), reversed(due), strict=False):
        if name != wanted.name:
            yield f"the stream has entry {name} where {wanted.name} is due"
            return
        due_fields = wanted.fields
        for field in NAMED:
            if fields.get(field) != due_fields[field]:
                yield f"entry {name} says {field} {fields.get(field)}, not {due_fields[field]}"
    if len(kept) > len(due):
        yield f"the stream has {len(kept)} entries, the journal {len(due)}"


async def kept_entries(client: redis.Redis) -> list[Entry]:
    """All that the stream holds."""
    key, last = await _key(client), "-"
    found: list[Entry] = []
    while True:
        page: Any = await client.xrange(key, min=last, count=PAGE)
        found += page
        if len(page) < PAGE:
            return found
        last = f"({page[-1][0]}"


async def caught_up(url: str, due: Sequence[Due], within_s: float) -> list[Entry]:
    """What the stream holds once it ends where the journal does, or when the time is up."""
    give_up_s = time.monotonic() + within_s
    async with redis.from_url(url, decode_responses=True) as client:
        while time.monotonic() < give_up_s:
            newest: Any = await client.xrevrange(await _key(client), count=1)
            if newest and due and newest[0][0] == due[-1].name:
                break
            await asyncio.sleep(0.3)
        return await kept_entries(client)


async def _key(client: redis.Redis) -> str:
    epoch: Any = await client.get("paycore:transfers:epoch")
    return f"paycore:transfers:{epoch}"


def _transfer(row: Transfer) -> dict[str, str]:
    return _texts(
        event="TRANSFER",
        state="HELD" if row.kind == "HOLD" else "POSTED",
        id=row.id,
        kind=row.kind,
        currency=row.currency,
        amount=row.amount,
        debit_account=row.debit,
        credit_account=row.credit,
        debit_version=row.debit_version,
        credit_version=row.credit_version,
        parent_id=row.parent,
        parent_state=row.parent_state,
        released=row.released,
        group_id=row.group,
        reason=None,
        created_at_us=row.created_at_us,
    )


def _decline(row: Decline) -> dict[str, str]:
    return _texts(
        event="DECLINE",
        state="FAILED",
        id=row.id,
        kind=row.kind,
        currency=row.currency,
        amount=row.amount,
        debit_account=row.debit,
        credit_account=row.credit,
        debit_version=None,
        credit_version=None,
        parent_id=row.parent,
        parent_state=None,
        released=None,
        group_id=row.group,
        reason=row.reason,
        created_at_us=row.created_at_us,
    )


def _texts(**fields: str | int | None) -> dict[str, str]:
    return {name: "" if value is None else str(value) for name, value in fields.items()}

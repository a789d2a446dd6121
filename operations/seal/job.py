"""Seals plain rows, some hundreds in a transaction, beside everything else that runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import asyncpg

import database
from paycore.domain.accounts import AccountKind
from paycore.domain.errors import PaycoreError
from paycore.domain.sealed import SealedDetails
from paycore.domain.subjects import belongs_to_debit, subjects_of
from paycore.domain.transfers import Details, TransferKind
from paycore.runtime.data_keys import DataKeys
from paycore.runtime.sealing import seal

AT_ONCE = 500
"""Rows in one transaction."""

KEYS_WITHIN_S = 10.0

Told = Callable[[int], None]
"""Told how many rows have been sealed so far."""


class Done(NamedTuple):
    """What a pass over the table did."""

    sealed: int
    strays: int
    """Rows that belong to no transfer or decline, left as they are: `paycore verify` tells more."""


async def seal_plain(
    connection: asyncpg.Connection, keys: DataKeys, told: Told = lambda _: None
) -> Done:
    """Seal every plain row; safe to repeat, and to be stopped anywhere.

    Raises PaycoreError SIGNER_UNAVAILABLE, and what asyncpg raises.
    """
    queries: Any = database.load("seal")
    sealed = strays = after = 0
    while rows := await queries.find_plain(connection, after_id=after, most=AT_ONCE):
        after = rows[-1]["id"]
        owned = {row["id"]: _subjects(row) for row in rows}
        strays += sum(not subjects for subjects in owned.values())
        wanted = {subject: None for subjects in owned.values() for subject in subjects}
        had = await keys.of_subjects(wanted, KEYS_WITHIN_S) if wanted else {}
        made: list[SealedDetails] = []
        for row in rows:
            mine = []
            for subject in owned[row["id"]]:
                key = had[subject]
                if isinstance(key, PaycoreError):
                    raise key
                mine.append(key)
            if mine:
                made.append(seal(row["id"], replace(_details(row), keys=tuple(mine))))
        if made:
            sealed += await queries.seal_plain(
                connection,
                ids=[one.row_id for one in made],
                owner_keys=[one.key_ids[0] for one in made],
                actor_keys=[one.key_ids[1] if len(one.key_ids) > 1 else None for one in made],
                sealed=[one.sealed for one in made],
            )
        told(sealed)
    return Done(sealed, strays)


def _subjects(row: Any) -> tuple[str, ...]:
    debit, credit = row["debit_owner"], row["credit_owner"]
    if row["kind"] is None or debit is None or credit is None:
        return ()
    of_debit = belongs_to_debit(
        TransferKind(row["kind"]), AccountKind(row["debit_kind"]), AccountKind(row["credit_kind"])
    )
    return tuple(subjects_of(debit if of_debit else credit, row["user_id"] or ""))


def _details(row: Any) -> Details:
    metadata = row["metadata"]
    return Details(
        row["user_id"] or "",
        row["device_id"] or "",
        row["ip_address"] or "",
        row["description"] or "",
        None if metadata is None else json.loads(metadata),
    )

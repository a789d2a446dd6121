"""Opens what the trail keeps sealed of persons, for whoever may have their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from operations.deployment import Deployment
from paycore.domain.sealed import SubjectKey, Unreadable
from paycore.runtime.channel import open_channel
from paycore.runtime.clock import SystemClock
from paycore.runtime.data_keys import MOST_A_CALL, DataKeys, KeyOrNot
from paycore.runtime.sealing import SealBrokenError, key_ids
from paycore.runtime.traces import AUDITED, Bound, Person, open_trace

KEYS_WITHIN_S = 2.0


class Traced(StrEnum):
    """How the device and address of a person stand in an entry."""

    PLAIN = "PLAIN"
    OPENED = "OPENED"
    SEALED = "SEALED"
    """Who looks may not open them, or the keys cannot be had now."""
    HINTED = "HINTED"
    """No key could be had when it happened, or nobody was named: only the hints are there."""
    ERASED = "ERASED"
    BROKEN = "BROKEN"
    """Altered, or moved from another row."""


NOBODY = Person()


async def open_traces(
    deployment: Deployment, rows: Sequence[Any]
) -> list[tuple[Traced | None, Person]]:
    """What became of the trace in each of `rows` of audit.trail, and what could be opened of it.

    Never fails: what cannot be opened stays sealed.
    """
    wanted = {key for row in rows if row["sealed"] for key in _keys_of(row)}
    had: Mapping[int, KeyOrNot] = {}
    target = deployment.targets.get("signing")
    if wanted and target is not None:
        async with open_channel(target, deployment.tls, service="signing") as channel:
            had = await _ask(DataKeys(channel, SystemClock()), sorted(wanted))
    return [_opened(row, had) for row in rows]


async def _ask(keys: DataKeys, wanted: Sequence[int]) -> Mapping[int, KeyOrNot]:
    had: dict[int, KeyOrNot] = {}
    for start in range(0, len(wanted), MOST_A_CALL):
        some = await keys.by_ids(wanted[start : start + MOST_A_CALL], KEYS_WITHIN_S)
        had.update(some)
        if Unreadable.UNAVAILABLE in some.values():
            # Who may not have one may have none: one refused call says so.
            break
    return had


def _keys_of(row: Any) -> tuple[int, ...]:
    return key_ids(row["owner_key"], row["actor_key"])


def _opened(row: Any, had: Mapping[int, KeyOrNot]) -> tuple[Traced | None, Person]:
    if row["erased"]:
        return Traced.ERASED, NOBODY
    if row["sealed"] is None:
        if row["device_hint"] or row["address_hint"]:
            return Traced.HINTED, NOBODY
        plain = row["source"] != "SIGNING" and row["device_id"] is not None
        return (Traced.PLAIN if plain else None), NOBODY
    keys = [had.get(key_id, Unreadable.UNAVAILABLE) for key_id in _keys_of(row)]
    if Unreadable.ERASED in keys:
        return Traced.ERASED, NOBODY
    mine = [key for key in keys if isinstance(key, SubjectKey)]
    if len(mine) < len(keys):
        return Traced.SEALED, NOBODY
    event = AUDITED if row["source"] == "LEDGER" else row["event"]
    bound = Bound(row["traced_us"], event, row["client"], row["user_id"])
    try:
        return Traced.OPENED, open_trace(row["sealed"], mine, bound)
    except SealBrokenError:
        return Traced.BROKEN, NOBODY

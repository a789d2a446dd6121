"""Opens sealed rows with the keys that can be had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from paycore.domain.sealed import SealedDetails, SubjectKey, Unreadable
from paycore.domain.transfers import Details
from paycore.runtime.data_keys import DataKeys, KeyOrNot
from paycore.runtime.metric_definitions import counter
from paycore.runtime.sealing import SealBrokenError, unseal

BROKEN = counter(
    "paycore_details_broken_total",
    "Rows of personal data, shown as unavailable, that do not open: altered, or moved.",
    unit="rows",
)

log = structlog.get_logger()


async def open_rows(
    keys: DataKeys, rows: Sequence[SealedDetails], within_s: float
) -> list[Details | Unreadable]:
    """What `rows` hold, in order; all their keys are asked for at once. Never fails for a row."""
    wanted = {key_id for row in rows for key_id in row.key_ids}
    had = await keys.by_ids(wanted, within_s)
    return [opened(row, had) for row in rows]


def opened(row: SealedDetails, had: Mapping[int, KeyOrNot]) -> Details | Unreadable:
    """What `row` holds, by the keys that were `had`, which are at least its own."""
    mine: list[SubjectKey] = []
    missing: set[Unreadable] = set()
    for key_id in row.key_ids:
        key = had[key_id]
        if isinstance(key, SubjectKey):
            mine.append(key)
        else:
            missing.add(key)
    if missing:
        # One key that is destroyed is enough, whatever becomes of the other.
        erased = Unreadable.ERASED in missing
        return Unreadable.ERASED if erased else Unreadable.UNAVAILABLE
    try:
        return unseal(row, mine)
    except SealBrokenError as error:
        BROKEN.inc()
        log.error("personal data does not open", id=row.row_id, why=str(error))
        return Unreadable.UNAVAILABLE

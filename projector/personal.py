"""Personal data of rows, opened for the documents that show it."""

from __future__ import annotations

import json
from collections.abc import Iterable

from paycore.domain.sealed import SealedDetails, Unreadable
from paycore.domain.transfers import Details
from paycore.runtime.data_keys import DataKeys
from paycore.runtime.opening import opened
from paycore.runtime.sealing import key_ids
from projector.batch import Row
from projector.details import Opened
from projector.documents import ShownDetails

KEYS_WITHIN_S = 5.0
"""How long a page waits at most for the keys of its rows, in seconds."""

_PLAIN = ("user_id", "device_id", "ip_address", "description", "metadata")


class DetailsOpener:
    """Asks for the keys of a whole page at once."""

    def __init__(self, keys: DataKeys) -> None:
        self._keys = keys

    async def open(self, rows: Iterable[Row]) -> Opened:
        """The details of those of `rows` that have any. Never fails for want of a key."""
        details: dict[int, ShownDetails] = {}
        sealed: list[SealedDetails] = []
        for row in rows:
            if row["sealed"] is None:
                if any(row[name] is not None for name in _PLAIN):
                    details[row["id"]] = _plain(row)
            elif row["erasures"]:
                details[row["id"]] = Unreadable.ERASED
            else:
                ids = key_ids(row["owner_key"], row["actor_key"])
                sealed.append(SealedDetails(row["id"], ids, row["sealed"]))
        if not sealed:
            return Opened(details, frozenset())
        wanted = {key_id for one in sealed for key_id in one.key_ids}
        had = await self._keys.by_ids(wanted, KEYS_WITHIN_S)
        for one in sealed:
            details[one.row_id] = opened(one, had)
        return Opened(
            details, frozenset(key for key, got in had.items() if got is Unreadable.UNAVAILABLE)
        )


def _plain(row: Row) -> Details:
    """Personal data that was written before it was sealed."""
    metadata = row["metadata"]
    return Details(
        row["user_id"] or "",
        row["device_id"] or "",
        row["ip_address"] or "",
        row["description"] or "",
        None if metadata is None else json.loads(metadata),
    )

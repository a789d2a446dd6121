"""Personal data of rows, opened with the keys that can be had soon."""

from __future__ import annotations

import json
from collections.abc import Iterable

from paycore.domain.sealed import SealedDetails, Unreadable
from paycore.domain.transfers import Details
from paycore.runtime.data_keys import DataKeys
from paycore.runtime.opening import open_rows
from paycore.runtime.sealing import key_ids
from query_service.readers.postgres.rows import Row, Shown

_PLAIN = ("user_id", "device_id", "ip_address", "description", "metadata")


class DetailsOpener:
    """Asks for the keys of a whole page at once; implements OpensDetails."""

    def __init__(self, keys: DataKeys) -> None:
        self._keys = keys

    async def open(self, rows: Iterable[Row], within_s: float) -> dict[int, Shown]:
        """The details, by id, of those of `rows` that have any.

        Waits `within_s` seconds at most for keys, and never fails for want of one.
        """
        details: dict[int, Shown] = {}
        sealed: list[SealedDetails] = []
        for row in rows:
            if row["erased"]:
                details[row["id"]] = Unreadable.ERASED
            elif row["sealed"] is not None:
                ids = key_ids(row["owner_key"], row["actor_key"])
                sealed.append(SealedDetails(row["id"], ids, row["sealed"]))
            elif any(row[name] is not None for name in _PLAIN):
                details[row["id"]] = _plain(row)
        if sealed:
            found = await open_rows(self._keys, sealed, within_s)
            details.update(zip((one.row_id for one in sealed), found, strict=True))
        return details


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

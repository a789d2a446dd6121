"""Personal data of rows, opened for those who may see it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from paycore.domain.sealed import SealedDetails, Unreadable
from paycore.domain.transfers import Details
from paycore.runtime.data_keys import DataKeys
from paycore.runtime.opening import opened
from paycore.runtime.sealing import key_ids
from query_service.readers.postgres.rows import Row, ShownDetails

KEYS_WITHIN_S = 0.5
"""How long rows wait at most for their keys, in seconds: what comes without is shown as
unavailable."""

_PLAIN = ("user_id", "device_id", "ip_address", "description", "metadata")


class DetailsOpener:
    """Asks for the keys of many rows at once."""

    def __init__(self, keys: DataKeys) -> None:
        self._keys = keys

    async def open(
        self, rows: Sequence[Row], erased: Collection[int]
    ) -> Mapping[int, ShownDetails]:
        """The details, by id, of those of `rows` that have any; `erased` are keys destroyed.

        Never fails for want of a key.
        """
        details: dict[int, ShownDetails] = {}
        sealed: list[SealedDetails] = []
        for row in rows:
            if row["sealed"] is None:
                if any(row[name] is not None for name in _PLAIN):
                    details[row["id"]] = _plain(row)
                continue
            ids = key_ids(row["owner_key"], row["actor_key"])
            # What is kept of keys may be minutes old; what the ledger says of them is not.
            if any(key in erased for key in ids):
                details[row["id"]] = Unreadable.ERASED
            else:
                sealed.append(SealedDetails(row["id"], ids, row["sealed"]))
        if sealed:
            wanted = {key for one in sealed for key in one.key_ids}
            had = await self._keys.by_ids(wanted, KEYS_WITHIN_S)
            details.update((one.row_id, opened(one, had)) for one in sealed)
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

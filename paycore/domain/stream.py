"""What the stream of events is made of, for whoever writes it and whoever reads it."""

from __future__ import annotations

import re
from typing import NamedTuple

FIELDS = (
    "event",
    "state",
    "id",
    "kind",
    "currency",
    "amount",
    "debit_account",
    "credit_account",
    "debit_version",
    "credit_version",
    "debit_institution",
    "credit_institution",
    "parent_id",
    "parent_state",
    "released",
    "group_id",
    "reason",
    "created_at_us",
    "position",
    "previous",
)
"""Every entry has all of these, in this order; what does not apply is empty."""

DEFAULT_PREFIX = "paycore:transfers"
"""What the keys of the stream begin with, where nothing else is said."""

_ENTRY = re.compile(r"(0|[1-9][0-9]{0,19})-(0|[1-9][0-9]{0,19})")


class EntryId(NamedTuple):
    """The id of an entry, ordered as the journal is: the transaction, and the number within it."""

    xid: int
    ordinal: int

    def __str__(self) -> str:
        return f"{self.xid}-{self.ordinal}"

    @classmethod
    def parse(cls, text: str) -> EntryId:
        """Raises ValueError when it is none."""
        found = _ENTRY.fullmatch(text)
        if found is None:
            raise ValueError(f"not the id of an entry: {text!r}")
        return cls(int(found[1]), int(found[2]))


NOWHERE = EntryId(0, 0)
"""Before every entry."""


def stream_key(prefix: str, epoch: int) -> str:
    """The key of the stream of one epoch: in another, ids of entries may begin anew."""
    return f"{prefix}:{epoch}"


def epoch_key(prefix: str) -> str:
    """The key that tells which epoch's stream is written."""
    return f"{prefix}:epoch"

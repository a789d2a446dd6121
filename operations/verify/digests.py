"""Journal rows hashed anew from the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from operations.verify.report import Figures
from paycore.domain.chain import JournalFields, row_digest

_NAMED = ("transfers", "declines", "accounts")
_SHOWN = 5
"""How many of the ids that a row names are told."""


@dataclass(frozen=True, slots=True)
class Digested:
    """A row of the journal as it is now."""

    xid: int
    journal_id: int
    digest: bytes
    names: str
    """The first of the transfers, declines and accounts that it names."""
    lacks: str
    """What it names that is not there; empty where all is."""

    @property
    def place(self) -> tuple[int, int]:
        return self.xid, self.journal_id

    @property
    def figures(self) -> Figures:
        """How it is told of."""
        return {"xid": self.xid, "journal_id": self.journal_id, "names": self.names}


async def digest_rows(
    connection: asyncpg.Connection, queries: Any, journal: Sequence[Mapping[str, Any]]
) -> list[Digested]:
    """Hash `journal`, and what its rows name."""
    leaves: dict[str, dict[int, bytes]] = {}
    for table in _NAMED:
        keys = {key for row in journal for key in row[table]}
        hash_rows = getattr(queries, f"hash_{table}")
        leaves[table] = dict(await hash_rows(connection, ids=list(keys))) if keys else {}
    return [_digested(row, leaves) for row in journal]


def _digested(row: Mapping[str, Any], leaves: Mapping[str, Mapping[int, bytes]]) -> Digested:
    named = [(table, key) for table in _NAMED for key in row[table]]
    lacking = [(table, key) for table, key in named if key not in leaves[table]]
    digest = row_digest(
        JournalFields(
            row["xid"],
            row["id"],
            row["created_at_us"],
            row["transfers"],
            row["declines"],
            row["accounts"],
            row["erased_keys"],
        ),
        [leaves[table].get(key, b"") for table, key in named],
    )
    return Digested(
        row["xid"], row["id"], digest, _told(named[:_SHOWN], more=len(named) > _SHOWN),
        _told(lacking[:1], more=False),
    )  # fmt: skip


def _told(named: Sequence[tuple[str, int]], *, more: bool) -> str:
    told = ", ".join(f"{table.removesuffix('s')} {key}" for table, key in named)
    return f"{told} and more" if more else told

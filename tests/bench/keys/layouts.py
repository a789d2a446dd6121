"""Ways to keep the keys unique, each as the DDL that makes it and the way it is looked up.

All have the columns, defaults and checks of `ledger.idempotency_keys`; the indexes differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import asyncpg

SCHEMA = "bench_keys"
WINDOWS = 10

_PREPARE = rf"""
DROP SCHEMA IF EXISTS {SCHEMA} CASCADE;
CREATE SCHEMA {SCHEMA};
CREATE EXTENSION IF NOT EXISTS pageinspect SCHEMA {SCHEMA};
-- The planner puts it in line, as it does ledger.key_locator.
CREATE FUNCTION {SCHEMA}.digest(client text, key text) RETURNS uuid
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN left(encode(
    sha256(decode(replace(client || chr(31) || key, '\', '\\'), 'escape')), 'hex'), 32)::uuid;
"""


async def prepare(dsn: str) -> None:
    """Make the tables' schema, empty. `dsn` is the administrator's, on a migrated database."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(_PREPARE)
    finally:
        await connection.close()


class Layout(StrEnum):
    """Named as on the command line."""

    SINGLE = "single"
    HASH16 = "hash16"
    HASH64 = "hash64"
    DIGEST = "digest"
    LOCATOR = "locator"
    WINDOWS = "windows"


@dataclass(frozen=True, slots=True)
class Design:
    """How a layout is made and read."""

    label: str
    index: str = "client, key"
    """What is unique."""
    function: str = ""
    """Over client and key, by which a row is looked up; empty: by the columns themselves."""
    partition_by: str = ""
    partitions: tuple[str, ...] = ()
    """Bounds, as FOR VALUES takes them; none: one plain table."""
    windowed: bool = False
    """Rows go to the newest of the partitions, by a column of their own."""

    def statements(self, table: str) -> list[str]:
        """DDL of an empty `table`."""
        window = ", generation integer NOT NULL" if self.windowed else ""
        like = "LIKE ledger.idempotency_keys INCLUDING DEFAULTS INCLUDING CONSTRAINTS"
        parts = [f"{table}_{number}" for number in range(len(self.partitions))]
        return [
            f"CREATE TABLE {table} ({like}{window}) {self.partition_by}",
            *(
                f"CREATE TABLE {part} PARTITION OF {table} FOR VALUES {bound}"
                for part, bound in zip(parts, self.partitions, strict=True)
            ),
            # On each part: an index over all of them would need the partition's own column in it.
            *(f"CREATE UNIQUE INDEX ON {one} ({self.index})" for one in parts or [table]),
        ]

    def match(self) -> str:
        """When a row `used` is the one `wanted`, as a condition of SQL."""
        exact = "used.client = wanted.client AND used.key = wanted.key"
        if not self.function:
            return exact
        stored, asked = (f"{self.function}({one}.client, {one}.key)" for one in ("used", "wanted"))
        return f"{stored} = {asked} AND {exact}"


def _by_hash(count: int) -> Design:
    return Design(
        f"{count} hash partitions, (client, key)",
        partition_by="PARTITION BY HASH (client, key)",
        partitions=tuple(f"WITH (MODULUS {count}, REMAINDER {one})" for one in range(count)),
    )


def _by_function(label: str, name: str) -> Design:
    return Design(label, f"{name}(client, key)", name)


DESIGNS: dict[Layout, Design] = {
    Layout.SINGLE: Design("one table, (client, key)"),
    Layout.HASH16: _by_hash(16),
    Layout.HASH64: _by_hash(64),
    Layout.DIGEST: _by_function("digest: 16 bytes", f"{SCHEMA}.digest"),
    Layout.LOCATOR: _by_function(
        "11 characters of the key, digest: 12 bytes", "ledger.key_locator"
    ),
    Layout.WINDOWS: Design(
        f"{WINDOWS} windows of time, (client, key) in each",
        partition_by="PARTITION BY LIST (generation)",
        partitions=tuple(f"IN ({one})" for one in range(WINDOWS)),
        windowed=True,
    ),
}

"""What PostgreSQL does for a statement: which tables it reads whole, and which through an index."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import psycopg
from psycopg import sql

from tests.support.full_tables import LARGE

PlanMode = Literal["force_custom_plan", "force_generic_plan"]
"""Planned for the values at hand, or once for any values: a prepared statement sees both."""

_NONE_GIVEN: Mapping[int, int | None] = {}
_BY_INDEX = frozenset({"Index Scan", "Index Only Scan", "Bitmap Index Scan"})
_WHOLE = frozenset({"Seq Scan", "Tid Scan", "Sample Scan"})

_PARAMETERS = """
SELECT parameter::oid::regtype::text, typcategory = 'A', elements.label, alone.label
FROM pg_prepared_statements, unnest(parameter_types) WITH ORDINALITY AS listed (parameter, place)
JOIN pg_type ON pg_type.oid = parameter::oid
LEFT JOIN LATERAL
  (SELECT min(enumlabel) AS label FROM pg_enum WHERE enumtypid = typelem) AS elements ON true
LEFT JOIN LATERAL
  (SELECT min(enumlabel) AS label FROM pg_enum WHERE enumtypid = pg_type.oid) AS alone ON true
WHERE name = 'planned'
ORDER BY place
"""

_TABLE = """
SELECT coalesce(pg_partition_root(oid), oid)::regclass::text, reltuples
FROM pg_class WHERE oid = format('%%I.%%I', %s::text, %s::text)::regclass
"""

_INDEX = """
SELECT ARRAY(SELECT pg_get_indexdef(indexrelid, place, false)
             FROM generate_series(1, indnkeyatts::int) AS place)
FROM pg_index WHERE indexrelid = format('%%I.%%I', %s::text, %s::text)::regclass
"""


def _names(key: str) -> list[str]:
    """The columns in a part of an index's key: a column, or a function of some."""
    return re.findall(r"\w+", key.rpartition("(")[2])


@dataclass(frozen=True)
class Access:
    """How a statement gets at the rows of one table or partition."""

    table: str
    """With its schema; of a partition: the table that it is a part of."""
    rows: float
    """How many the table or the partition has."""
    columns: tuple[str, ...] = ()
    """Key of the index; none where the table is read without one."""
    condition: str = ""
    """What the index is searched by; empty where it is read from one end."""
    limited: bool = False
    """Under a limit, so that what is read in order ends early."""

    def finds_by(self, columns: Sequence[str]) -> bool:
        """Whether the index begins with `columns`, and is searched by each of them."""
        return set(self.columns[: len(columns)]) == set(columns) and all(
            re.search(rf"\b{name}\b", self.condition)
            for column in columns
            for name in _names(column)
        )

    def follows(self, columns: Sequence[str]) -> bool:
        """Whether rows come in the order of `columns` until there are enough."""
        return self.columns[: len(columns)] == tuple(columns) and self.limited

    @cached_property
    def reads_much(self) -> bool:
        """Whether it goes through all of something large."""
        found = self.condition or (self.columns and self.limited)
        return self.rows >= LARGE and not found


class Planner:
    """Plans statements on one connection, with made-up values for their parameters."""

    def __init__(self, connection: psycopg.Connection[Any], ids: Sequence[int]) -> None:
        """`ids` are what is asked for: as one, the first, and as an array, all of them."""
        self._connection = connection
        self._ids = ids

    def accesses(
        self, statement: str, mode: PlanMode, given: Mapping[int, int | None] = _NONE_GIVEN
    ) -> list[Access]:
        """How the rows of each table are got at; `given` are values of parameters, by place from 0,
        for which no other would do. Raises psycopg.errors.SyntaxError where there is nothing to
        plan, as for COMMIT.
        """
        with self._prepared(statement, given) as values:
            self._connection.execute(f"SET plan_cache_mode = {mode}")
            call = sql.SQL("planned ({})").format(values) if values else sql.SQL("planned")
            row = self._connection.execute(
                sql.SQL("EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE {}").format(call)
            ).fetchone()
        assert row is not None
        return list(self._walk(row[0][0]["Plan"], place=None, limited=False))

    @contextmanager
    def _prepared(
        self, statement: str, given: Mapping[int, int | None]
    ) -> Iterator[sql.Composable | None]:
        """Prepare `statement` under the name `planned`; gives values for its parameters."""
        self._connection.execute(f"PREPARE planned AS {statement}".encode())
        try:
            parameters = self._connection.execute(_PARAMETERS).fetchall()
            values = [
                sql.Literal(given[place] if place in given else self._value(*parameter))
                for place, parameter in enumerate(parameters)
            ]
            yield sql.SQL(", ").join(values) if values else None
        finally:
            self._connection.execute("DEALLOCATE planned")

    def _value(
        self, kind: str, is_array: bool, element_label: str | None, label: str | None
    ) -> str:
        """A value of type `kind`, as text; of an enum, the label that is given."""
        if is_array:
            element = kind.removesuffix("[]")
            ones = [self._scalar(element, number, element_label) for number in self._ids]
            return "{" + ",".join(ones) + "}"
        return self._scalar(kind, self._ids[0], label)

    def _scalar(self, kind: str, number: int, label: str | None) -> str:
        if label is not None:
            return label
        match kind:
            case "bigint" | "text":
                return str(number)
            case "integer" | "smallint" | "double precision" | "xid8":
                return "100"
            case "bytea":
                return f"\\x{number:064x}"
            case "jsonb":
                return "null"
            case "pg_snapshot":
                return "100:100:"
            case "uuid":
                return f"{number:032x}"
            case "boolean":
                return "true"
            case "date":
                return f"2026-{1 + number % 12:02}-01"
            case "timestamp with time zone":
                return "now"
            case _:
                raise ValueError(f"say what a {kind} may be")

    def _walk(
        self, node: Mapping[str, Any], *, place: tuple[str, str] | None, limited: bool
    ) -> Iterator[Access]:
        """`place` is the table that a bitmap of its index is for: the index does not say so."""
        kind = node["Node Type"]
        if "Relation Name" in node:
            place = (node["Schema"], node["Relation Name"])
        if place is not None and kind in _WHOLE:
            yield self._access(place)
        if place is not None and kind in _BY_INDEX:
            index = (place[0], node["Index Name"])
            yield self._access(place, index, node.get("Index Cond", ""), limited)
        if place is not None:
            for name in node.get("Conflict Arbiter Indexes", ()):
                index = (place[0], name)
                key = ", ".join(self._key(index))
                yield self._access(place, index, key)
        # What must see all rows before it gives the first, takes the effect of a limit away.
        limited = kind == "Limit" or (limited and kind not in {"Sort", "Aggregate", "Hash"})
        for inner in node.get("Plans", ()):
            yield from self._walk(
                inner, place=place if kind.startswith("Bitmap") else None, limited=limited
            )

    def _access(
        self,
        place: tuple[str, str],
        index: tuple[str, str] | None = None,
        condition: str = "",
        limited: bool = False,
    ) -> Access:
        row = self._connection.execute(_TABLE, place).fetchone()
        assert row is not None
        columns = () if index is None else self._key(index)
        return Access(row[0], row[1], columns, condition, limited)

    def _key(self, index: tuple[str, str]) -> tuple[str, ...]:
        row = self._connection.execute(_INDEX, index).fetchone()
        assert row is not None
        return tuple(row[0])

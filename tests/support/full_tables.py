"""Fill every table of a migrated database, whatever its columns, so that plans are worth reading.

The rows mean nothing: rules are switched off first. What matters to the planner is there: many
rows, columns whose values differ, and statistics.
"""

from __future__ import annotations

import psycopg
from psycopg.rows import DictRow, dict_row

Admin = psycopg.Connection[DictRow]

ROWS = 30_000
LARGE = 5_000
"""A table, or a partition, with as many rows is not to be read whole."""

FEW_DIFFERENT = {"client": 50, "currency": 3, "sink": 2, "institution": 20}
"""Columns in which many rows share a value, and how many values there are."""

MOSTLY_SET = frozenset({"verdict"})
"""Columns with an index for the few rows in which they are null."""

_PLACES = 2
"""Over how many partitions the ids are spread."""

_VALUES = {
    "int8": "id",
    "int4": "n % 1024",
    "int2": "n % 1024",
    "bool": "n % 2 = 0",
    "float8": "n",
    "bytea": "sha256(n::text::bytea)",
    "jsonb": "'{}'",
    "uuid": "md5(n::text)::uuid",
    # Of transactions that have ended: the first ids of a server were used up by initdb.
    "xid8": "(n % 500 + 3)::text::xid8",
    "pg_snapshot": "'100:100:'::pg_snapshot",
    "timestamptz": "now()",
    "_int8": "ARRAY[id]",
    "_text": "ARRAY[n::text]",
}
"""Type, and a value of it for row number n, whose id is `id`."""

_TABLES = """
SELECT oid, oid::regclass::text AS name, relispartition AS partition
FROM pg_class
WHERE relkind IN ('r', 'p')
  AND relnamespace::regnamespace::text !~ '^(pg_.*|information_schema|public)$'
ORDER BY relispartition
"""

_COLUMNS = """
SELECT attname AS name, typname AS type, format_type(atttypid, atttypmod) AS full_type,
       attnotnull AS required,
       (SELECT min(enumlabel) FROM pg_enum WHERE enumtypid = atttypid) AS label
FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""

_CHECKS = "SELECT conname AS name FROM pg_constraint WHERE conrelid = %s AND contype = 'c'"

_UPPER_BOUNDS = """
SELECT substring(pg_get_expr(relpartbound, oid) FROM 'TO \\(''(\\d+)''\\)')::bigint AS bound
FROM pg_class JOIN pg_inherits ON inhrelid = oid
WHERE inhparent = 'ledger.transfers'::regclass
ORDER BY bound
LIMIT %s
"""


def fill(admin_dsn: str) -> list[int]:
    """Fill all tables; returns the ids, which are the same in each of them.

    `admin_dsn` is a superuser's, for a database that nobody else uses, or will.
    """
    with psycopg.connect(admin_dsn, autocommit=True, row_factory=dict_row) as admin:
        tables = admin.execute(_TABLES).fetchall()
        for table in tables:
            _switch_rules_off(admin, table["oid"], table["name"])
        _number_rows(admin)
        for table in tables:
            if not table["partition"]:
                columns = admin.execute(_COLUMNS, (table["oid"],)).fetchall()
                names = ", ".join(f'"{column["name"]}"' for column in columns)
                values = ", ".join(map(_value, columns))
                # A table whose key has few values gets no more rows than it can ever have.
                admin.execute(
                    f"INSERT INTO {table['name']} ({names}) OVERRIDING SYSTEM VALUE"
                    f" SELECT {values} FROM numbered ON CONFLICT DO NOTHING"
                )
        ids = admin.execute("SELECT id FROM numbered ORDER BY n").fetchall()
        admin.execute("VACUUM ANALYZE")
        return [row["id"] for row in ids]


def _switch_rules_off(admin: Admin, oid: int, name: str) -> None:
    admin.execute(f"ALTER TABLE {name} DISABLE TRIGGER ALL")
    # Those that a partition has from its table went with the table's: tables come first.
    for check in admin.execute(_CHECKS, (oid,)).fetchall():
        admin.execute(f'ALTER TABLE {name} DROP CONSTRAINT "{check["name"]}"')


def _number_rows(admin: Admin) -> None:
    """Make the table of (n, id), with ids for which there are partitions."""
    bounds = [row["bound"] for row in admin.execute(_UPPER_BOUNDS, (_PLACES,)).fetchall()]
    bounds = bounds or [10**18]
    admin.execute("CREATE TEMP TABLE numbered (n int, id bigint)")
    for place, bound in enumerate(bounds):
        first, end = (ROWS * step // len(bounds) for step in (place, place + 1))
        admin.execute(
            "INSERT INTO numbered SELECT n, %s::bigint - (%s::bigint - n) * 1000"
            " FROM generate_series(%s::int, %s::int) AS n",
            (bound, end, first, end - 1),
        )


def _value(column: DictRow) -> str:
    name, label = column["name"], column["label"]
    if column["type"] == "text":
        value = f"'{name}-' || n % {FEW_DIFFERENT.get(name, ROWS)}"
    elif label is not None:
        value = f"'{label}'::{column['full_type']}"
    elif column["type"] in _VALUES:
        value = _VALUES[column["type"]]
    else:
        raise ValueError(f"say in _VALUES what a {column['type']} may be, as {name} is")
    if name in MOSTLY_SET and not column["required"]:
        return f"CASE WHEN n % 100 > 0 THEN {value} END"
    return value

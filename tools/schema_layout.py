"""Arrange what pg_dump writes so that it can be read: each table with all that belongs to it.

What is left out changes nothing: pg_dump's remarks and session settings, the `ONLY` of statements
about tables whose partitions are not there, the index method that is the default. Grants that
differ in one column or one role alone become one.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby

WIDTH = 100

_HEADING = re.compile(
    r"^--\n-- (?:Data for )?Name: (?P<name>.*); Type: (?P<kind>.*); Schema: (?P<schema>.*);"
    r" Owner: .*\n--\n",
    re.MULTILINE,
)
_TRAILER = re.compile(
    r"^--\n-- PostgreSQL database dump complete\n--\n.*", re.MULTILINE | re.DOTALL
)
_SESSION = re.compile(r"^SET default_\w+ = .*;\n", re.MULTILINE)
_ONLY = re.compile(r"(?<=^ALTER TABLE )ONLY |(?<= ON )ONLY (?=\w+\.)", re.MULTILINE)
_LITERAL = re.compile(r"'(?:[^']|'')*'")
_NAME = re.compile(r"\b(\w+)\.(\w+)")
_COLUMN_GRANT = re.compile(r"^(GRANT \w+)\((\w+)\) (ON TABLE .*)$")
_GRANTEE = re.compile(r"^(GRANT .* TO )(\w+);$")

_STANDING_ALONE = frozenset(
    {
        "AGGREGATE",
        "DOMAIN",
        "FUNCTION",
        "MATERIALIZED VIEW",
        "PROCEDURE",
        "SEQUENCE",
        "TABLE",
        "TYPE",
        "VIEW",
    }
)
"""Kinds of object that others belong to."""

_LEFT_OUT = frozenset({"SEQUENCE SET"})
"""Where a sequence stands is data."""


@dataclass
class _Object:
    """An object, and the statements that belong to it, in pg_dump's order."""

    schema: str
    name: str
    create: str
    belonging: list[str] = field(default_factory=list)


def arrange(dump: str) -> str:
    """The statements of `dump`, a pg_dump in plain text, schema by schema and object by object.

    A statement stands behind the last object that it names, and views of what other schemas have
    behind all schemas, so that the whole can be run.
    """
    schemas: dict[str, list[str]] = {}
    objects: dict[tuple[str, str], _Object] = {}
    rest: list[str] = []
    for name, kind, schema, statement in _entries(dump):
        if kind in _LEFT_OUT or not statement:
            continue
        if kind == "SCHEMA":
            schemas[name] = [statement]
        elif schema == "-" and name.removeprefix("SCHEMA ") in schemas:
            schemas[name.removeprefix("SCHEMA ")].append(statement)
        elif kind in _STANDING_ALONE and statement.startswith("CREATE "):
            # Functions are listed with their arguments; those that share a name share a place.
            bare = name.partition("(")[0]
            if (schema, bare) in objects:
                objects[schema, bare].belonging.append(statement)
            else:
                objects[schema, bare] = _Object(schema, bare, statement)
        else:
            named = set(_NAME.findall(_LITERAL.sub("", statement)))
            owners = [one for key, one in objects.items() if key in named]
            (owners[-1].belonging if owners else rest).append(statement)
    parts = []
    for schema, statements in schemas.items():
        parts.append(f"-- Schema {schema}\n\n" + _together(statements))
        parts.extend(
            _together([one.create, *one.belonging])
            for one in objects.values()
            if one.schema == schema and not _spans_schemas(one)
        )
    parts.extend(
        _together([one.create, *one.belonging]) for one in objects.values() if _spans_schemas(one)
    )
    if rest:
        parts.append(_together(rest))
    return "\n\n".join(parts) + "\n"


def _spans_schemas(one: _Object) -> bool:
    """Whether it is a view that needs what another schema has."""
    named = _NAME.findall(_LITERAL.sub("", one.create))
    return one.create.startswith("CREATE VIEW ") and any(
        schema != one.schema and f"FROM {schema}.{name}" in one.create for schema, name in named
    )


def _entries(dump: str) -> Iterable[tuple[str, str, str, str]]:
    """Name, kind, schema and statements of each entry."""
    headings = list(_HEADING.finditer(dump))
    ends = [heading.start() for heading in headings[1:]] + [len(dump)]
    for heading, end in zip(headings, ends, strict=True):
        body = _TRAILER.sub("", dump[heading.end() : end])
        body = _ONLY.sub("", _SESSION.sub("", body)).strip()
        yield heading["name"], heading["kind"], heading["schema"], body


def _together(statements: Iterable[str]) -> str:
    """One object's statements without gaps, short ones on one line, its grants at the end."""
    grants: list[str] = []
    others: list[str] = []
    for statement in statements:
        if statement.startswith(("GRANT ", "REVOKE ")):
            grants.extend(statement.splitlines())
        else:
            others.append(_shorter(statement))
    return "\n".join([*others, *_merged(grants)])


def _shorter(statement: str) -> str:
    """`statement` in fewer lines, or in lines of WIDTH, where that cannot touch a literal."""
    if statement.startswith("CREATE TYPE ") and " AS ENUM " in statement:
        return _filled(statement.replace("(\n    ", "(").replace("\n)", ")"))
    if statement.startswith("INSERT "):
        return statement.replace("\n\t(", "\n  (")
    if statement.startswith("COMMENT ") and len(statement) > WIDTH:
        return statement.replace(" IS '", " IS\n  '", 1)
    if statement.startswith(("CREATE INDEX ", "CREATE UNIQUE INDEX ")):
        return _filled(statement.replace(" USING btree ", " ", 1))
    if statement.startswith("CREATE TRIGGER "):
        return "\n".join(map(_filled, statement.split("\n\n")))
    if statement.startswith("ALTER TABLE ") and len(" ".join(statement.split())) <= WIDTH:
        return _filled(statement)
    return statement


def _filled(statement: str) -> str:
    if "'" in statement and " AS ENUM " not in statement:
        return statement
    return textwrap.fill(
        " ".join(statement.split()),
        WIDTH,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _merged(grants: list[str]) -> list[str]:
    """`grants` of one object, those that differ in one column or one role alone made one."""
    split = [_by_column(grant) for grant in grants]
    merged = [what for what, column, _ in split if not column]
    of_columns = sorted((one for one in split if one[1]), key=_shape)
    for (what, where), alike in groupby(of_columns, key=_shape):
        columns = ", ".join(column for _, column, _ in alike)
        merged.append(f"{what} ({columns}) {where}")
    result: list[str] = []
    for what, alike_to in groupby(map(_by_grantee, merged), lambda grant: grant[0]):
        roles = ", ".join(role for _, role in alike_to)
        result.append(_filled(f"{what}{roles};" if roles else what))
    return result


def _shape(grant: tuple[str, str, str]) -> tuple[str, str]:
    """What a grant on a column shares with those on other columns."""
    return grant[0], grant[2]


def _by_column(grant: str) -> tuple[str, str, str]:
    """What is granted, on which column and the rest; where it is not on one: all, "" and ""."""
    found = _COLUMN_GRANT.match(grant)
    return (found[1], found[2], found[3]) if found else (grant, "", "")


def _by_grantee(grant: str) -> tuple[str, str]:
    """What is granted and to whom; of a revocation: all and ""."""
    found = _GRANTEE.match(grant)
    return (found[1], found[2]) if found else (grant, "")

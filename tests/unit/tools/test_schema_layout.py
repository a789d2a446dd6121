"""pg_dump's statements, arranged: what belongs together stands together, in an order that runs."""

from __future__ import annotations

from tools.schema_layout import arrange


def entry(name: str, kind: str, schema: str, statement: str, *, data: bool = False) -> str:
    title = f"{'Data for ' if data else ''}Name: {name}; Type: {kind}; Schema: {schema}; Owner: -"
    return f"--\n-- {title}\n--\n\n{statement}\n\n\n"


HEAD = (
    "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\n"
    "-- Dumped from database version 18.6\n\nSET statement_timeout = 0;\n\n"
)
TAIL = "--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n"

SCHEMA = entry("s", "SCHEMA", "-", "CREATE SCHEMA s;")
FIRST = entry(
    "first", "TABLE", "s", "CREATE TABLE s.first (id bigint);\n\nSET default_tablespace = '';"
)
SECOND = entry("second", "TABLE", "s", "CREATE TABLE s.second (id bigint);")


def arranged(*entries: str) -> str:
    return arrange(HEAD + "".join(entries) + TAIL)


def test_what_belongs_to_a_table_stands_below_it() -> None:
    text = arranged(
        SCHEMA,
        FIRST,
        SECOND,
        entry("first", "TABLE DATA", "s", "INSERT INTO s.first (id) VALUES\n\t(1);", data=True),
        entry(
            "first pk",
            "CONSTRAINT",
            "s",
            "ALTER TABLE ONLY s.first\n    ADD CONSTRAINT pk CHECK (x);",
        ),
        entry("i", "INDEX", "s", "CREATE INDEX i ON ONLY s.first USING btree (id);"),
        entry("TABLE first", "ACL", "s", "GRANT SELECT ON TABLE s.first TO one;"),
        entry("SCHEMA s", "ACL", "-", "GRANT USAGE ON SCHEMA s TO one;"),
    )
    assert text == (
        "-- Schema s\n\nCREATE SCHEMA s;\nGRANT USAGE ON SCHEMA s TO one;\n\n"
        "CREATE TABLE s.first (id bigint);\n"
        "INSERT INTO s.first (id) VALUES\n  (1);\n"
        "ALTER TABLE s.first ADD CONSTRAINT pk CHECK (x);\n"
        "CREATE INDEX i ON s.first (id);\n"
        "GRANT SELECT ON TABLE s.first TO one;\n\n"
        "CREATE TABLE s.second (id bigint);\n"
    )


def test_a_statement_waits_for_all_that_it_names() -> None:
    text = arranged(
        SCHEMA,
        FIRST,
        SECOND,
        entry("f()", "FUNCTION", "s", "CREATE FUNCTION s.f() RETURNS trigger;"),
        entry("first fk", "FK CONSTRAINT", "s", "ALTER TABLE s.first REFERENCES s.second(id);"),
        entry("first t", "TRIGGER", "s", "CREATE TRIGGER t ON s.first EXECUTE FUNCTION s.f();"),
    )
    assert text.index("REFERENCES") > text.index("CREATE TABLE s.second")
    assert text.index("CREATE TRIGGER") > text.index("CREATE FUNCTION")


def test_a_name_in_a_literal_is_no_name() -> None:
    remark = "COMMENT ON TABLE s.first IS 'It''s not s.second.';"
    text = arranged(SCHEMA, FIRST, SECOND, entry("TABLE first", "COMMENT", "s", remark))
    assert text.index(remark) < text.index("CREATE TABLE s.second")


def test_what_it_does_not_know_is_kept() -> None:
    text = arranged(SCHEMA, entry("p", "PUBLICATION", "-", "CREATE PUBLICATION p;"))
    assert text.endswith("CREATE PUBLICATION p;\n")


def test_grants_alike_are_one() -> None:
    text = arranged(
        SCHEMA,
        FIRST,
        entry(
            "TABLE first",
            "ACL",
            "s",
            "REVOKE ALL ON TABLE s.first FROM PUBLIC;\nGRANT SELECT ON TABLE s.first TO one;\n"
            "GRANT SELECT ON TABLE s.first TO two;\nGRANT INSERT ON TABLE s.first TO two;",
        ),
        entry("COLUMN first.a", "ACL", "s", "GRANT UPDATE(a) ON TABLE s.first TO one;"),
        entry("COLUMN first.b", "ACL", "s", "GRANT UPDATE(b) ON TABLE s.first TO one;"),
    )
    assert text.splitlines()[-4:] == [
        "REVOKE ALL ON TABLE s.first FROM PUBLIC;",
        "GRANT SELECT ON TABLE s.first TO one, two;",
        "GRANT INSERT ON TABLE s.first TO two;",
        "GRANT UPDATE (a, b) ON TABLE s.first TO one;",
    ]


def test_nothing_of_the_server_s_version_remains() -> None:
    assert arranged(SCHEMA) == "-- Schema s\n\nCREATE SCHEMA s;\n"

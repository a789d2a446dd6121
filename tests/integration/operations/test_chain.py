"""Following the chain of seals finds whatever was done to what was sealed, and to the seals.

The damage is done by a superuser with all triggers off, who puts them back.
"""

from __future__ import annotations

import asyncio
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from operations.errors import UsageError
from operations.verify.chain import RULES, ChainReport, verify_chain
from operations.verify.chain_rules import Head
from tests.integration.operations.small_ledger import (
    APPROVED,
    BOB,
    CASH,
    DECLINED,
    DEPOSITED,
    FIRST,
    PAID,
    REFUNDED,
    SmallLedger,
)
from tests.support.databases import OwnDatabase
from tests.support.sealing import seal_journal

ENTRIES = 5
"""So that the journal's rows 100 to 105 are in seals of two."""

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "follow_chain.py"


@dataclass(frozen=True)
class Sealed:
    """A small ledger that is sealed."""

    ledger: SmallLedger
    projector_dsn: str
    audit_dsn: str

    async def seal(self, entries: int = ENTRIES) -> int:
        return await seal_journal(self.projector_dsn, entries=entries)

    async def follow(self, *, start: int = 1, head: Head | None = None) -> ChainReport:
        return await verify_chain(self.audit_dsn, start=start, head=head)

    async def broken(self, **how: Any) -> dict[str, Any]:
        """The first violation of each rule that does not hold."""
        report = await self.follow(**how)
        of = {text: name for name, (text, _) in RULES.items()}
        failed = {
            of[check.rule]: check.first_violation for check in report.checks if not check.held
        }
        assert report.held is (not failed)
        return failed

    async def head(self) -> Head:
        head = (await self.follow()).head
        assert head is not None
        return head

    async def tamper(self, *statements: str) -> None:
        """As SmallLedger.tamper, and no foreign key stops it either."""
        await self.ledger.tamper("SET LOCAL session_replication_role = replica", *statements)


@pytest.fixture
async def sealed(ledger_database: OwnDatabase, ledger: SmallLedger) -> Sealed:
    found = Sealed(ledger, ledger_database.dsn("projector"), ledger_database.dsn("audit"))
    assert await found.seal() == 3
    return found


async def test_a_chain_that_was_left_alone_holds(sealed: Sealed) -> None:
    report = await sealed.follow()
    assert report.held
    assert [(check.examined, check.unit) for check in report.checks] == [
        (3, "seals"), (6, "journal rows"), (12, "transfers and declines"),
    ]  # fmt: skip
    assert (report.segments, report.unsealed_rows) == (((1, 1),), 0)
    assert report.head is not None
    assert report.head.number == 3
    assert Head.parse(str(report.head)) == report.head
    assert await sealed.broken(head=report.head) == {}


async def test_a_program_of_the_document_alone_finds_the_same_head(sealed: Sealed) -> None:
    spec = importlib.util.spec_from_file_location("follow_chain", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    assert await program.follow(sealed.audit_dsn) == str(await sealed.head())
    await sealed.tamper(f"UPDATE ledger.transfers SET amount = 101 WHERE id = {PAID}")
    with pytest.raises(SystemExit, match="rows of seal 1 are not as they were"):
        await program.follow(sealed.audit_dsn)


OTHER = {
    "int8": "coalesce({0}, 0) + 1000",
    "text": "coalesce({0}, '') || 'X'",
    "bytea": "coalesce({0}, '') || '\\x01'",
    "jsonb": '\'{{"other": "1"}}\'',
    "xid8": "'7'",
    "_int8": "{0} || 77::bigint",
}
"""By type, another value than a column has."""

ACCOUNT_STATE = {
    "balance", "held", "overdraft_limit", "version", "revision", "last_entry_us", "status",
}  # fmt: skip
"""Of an account, what it has, which changes."""

PLACES = {
    "transfers": (PAID, 101, "sealed"),
    "declines": (DECLINED, 102, "sealed"),
    "accounts": (BOB, 100, "sealed"),
    "journal": (102, 102, "sealed"),
}
"""By table, a row of it, and the journal row that names it."""


@pytest.mark.parametrize("table", PLACES)
async def test_a_change_of_any_column_is_found_in_its_row(sealed: Sealed, table: str) -> None:
    key, journal_id, _ = PLACES[table]
    run, fetch = sealed.ledger.run, sealed.ledger.fetch
    for check in await fetch(
        "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = $1::text::regclass"
        " AND connamespace = 'ledger'::regnamespace",
        f"ledger.{table}",
    ):
        await run(f'ALTER TABLE ledger.{table} DROP CONSTRAINT "{check["conname"]}"')
    columns = await fetch(
        "SELECT attname AS name, typname AS type, (SELECT array_agg(enumlabel::text) FROM pg_enum"
        " WHERE enumtypid = atttypid) AS labels FROM pg_attribute"
        " JOIN pg_type ON pg_type.oid = atttypid WHERE attrelid = $1::text::regclass"
        " AND attnum > 0 AND NOT attisdropped",
        f"ledger.{table}",
    )
    await run(f"CREATE TABLE public.kept AS SELECT * FROM ledger.{table} WHERE id = {key}")
    passed = []
    for column in columns:
        name = column["name"]
        value = OTHER.get(column["type"], "").format(name)
        if column["labels"]:
            [kept] = await fetch(f"SELECT {name}::text AS label FROM public.kept")
            value = f"'{next(one for one in column['labels'] if one != kept['label'])}'"
        assert value, f"say in OTHER what another {column['type']} is"
        await sealed.tamper(f"UPDATE ledger.{table} SET {name} = {value} WHERE id = {key}")
        failed = await sealed.broken()
        if name in ACCOUNT_STATE and table == "accounts":
            assert failed == {}
            passed.append(name)
        elif name not in ("id", "xid") or table == "declines":
            assert failed["sealed"]["journal_id"] == journal_id, name
            assert "fault" in failed["sealed"]
        else:
            # The row is another one, or stands elsewhere.
            assert "sealed" in failed, name
        await sealed.tamper(
            f"UPDATE ledger.{table} SET {name} = (SELECT {name} FROM public.kept)"
            f" WHERE id = {key} OR id = {key} + 1000 AND '{name}' = 'id'"
        )
        assert await sealed.broken() == {}, name
    assert len(columns) - len(passed) == {
        "transfers": 26, "declines": 16, "accounts": 7, "journal": 7,
    }[table]  # fmt: skip


ROW = (
    "INSERT INTO ledger.journal (xid, id, created_at_us, transfers) SELECT xid, {id}, 1, '{{}}'"
    " FROM ledger.journal WHERE id = {beside}"
)
COPIED = (
    'INSERT INTO ledger.{0} SELECT (jsonb_populate_record(one, \'{{"id": {1}, "debit_version": 99,'
    ' "credit_version": 99}}\')).* FROM ledger.{0} AS one WHERE id = {2}'
)

DAMAGES: dict[str, tuple[list[str], dict[str, dict[str, object]]]] = {
    "a journal row removed": (
        ["DELETE FROM ledger.journal WHERE id = 103"],
        {"sealed": {"seal": 2, "row": 2, "after_journal_id": 102, "fault": "it is missing"},
         "named": {"table": "transfers", "id": 30}},
    ),
    "a seal's last journal row removed": (
        ["DELETE FROM ledger.journal WHERE id = 105"],
        {"sealed": {"seal": 3, "row": 2, "after_journal_id": 104}, "named": {"id": FIRST}},
    ),
    "a journal row added in the middle": (
        [ROW.format(id=99, beside=103)],
        {"sealed": {"seal": 2, "journal_id": 99, "fault": "it was not sealed"}},
    ),
    "a journal row added before the first": (
        ["INSERT INTO ledger.journal (xid, id, created_at_us) VALUES ('3', 1, 1)"],
        {"sealed": {"seal": 1, "journal_id": 1, "fault": "it was not sealed"}},
    ),
    "two journal rows that changed places": (
        ["UPDATE ledger.journal SET xid = (SELECT other.xid FROM ledger.journal AS other"
         " WHERE other.id = 205 - journal.id) WHERE id IN (102, 103)"],
        {"sealed": {"seal": 2, "journal_id": 103, "fault": "it is not as it was sealed"}},
    ),
    "a journal row moved to another seal": (
        ["UPDATE ledger.journal SET xid = (SELECT xid FROM ledger.journal WHERE id = 105)"
         " WHERE id = 102"],
        {"sealed": {"seal": 2, "row": 1, "after_journal_id": None}},
    ),
    "two transfers listed the other way round": (
        [f"UPDATE ledger.journal SET transfers = '{{{PAID},{DEPOSITED}}}' WHERE id = 101"],
        {"sealed": {"seal": 1, "journal_id": 101}},
    ),
    "a transfer removed": (
        [f"DELETE FROM ledger.transfers WHERE id = {REFUNDED}"],
        {"sealed": {"seal": 3, "journal_id": 104,
                    "fault": f"it names transfer {REFUNDED}, which is gone"},
         "named": {"table": "transfers", "there": 10, "named": 11}},
    ),
    "a decline removed": (
        [f"DELETE FROM ledger.declines WHERE id = {DECLINED}"],
        {"sealed": {"fault": f"it names decline {DECLINED}, which is gone"}, "named": {}},
    ),
    "a transfer added that no row names": (
        [COPIED.format("transfers", 77, PAID)],
        {"named": {"table": "transfers", "id": 77, "fault": "the journal does not name it"}},
    ),
    "a decline added that no row names": (
        [COPIED.format("declines", 78, DECLINED)], {"named": {"table": "declines", "id": 78}},
    ),
    "two transfers that changed places": (
        [f"UPDATE ledger.transfers SET id = 77 WHERE id = {PAID}",
         f"UPDATE ledger.transfers SET id = {PAID} WHERE id = {APPROVED}",
         f"UPDATE ledger.transfers SET id = {APPROVED} WHERE id = 77"],
        {"sealed": {"journal_id": 101}},
    ),
    "an account removed": (
        [f"DELETE FROM ledger.accounts WHERE id = {CASH}"],
        {"sealed": {"seal": 1, "journal_id": 100}},
    ),
    "a seal removed": (
        ["DELETE FROM ledger.seals WHERE number = 2"],
        {"seals": {"seal": 3, "fault": "it is not the next: seal 2 is missing"},
         "sealed": {"seal": 3, "journal_id": 102, "fault": "it was not sealed"}},
    ),
    "the first seal removed": (
        ["DELETE FROM ledger.seals WHERE number = 1"],
        {"seals": {"seal": 2, "fault": "it is not the next: seal 1 is missing"}, "sealed": {}},
    ),
    "two seals that changed places": (
        ["UPDATE ledger.seals SET number = 9 WHERE number = 2",
         "UPDATE ledger.seals SET number = 2 WHERE number = 3",
         "UPDATE ledger.seals SET number = 3 WHERE number = 9"],
        {"seals": {"seal": 2, "fault": "its content is not what its hash says"}, "sealed": {}},
    ),
    "the end cut off": (
        ["DELETE FROM ledger.seals WHERE number = 3"],
        {"seals": {"seal": 3, "fault": "it is missing: more was sealed"}},
    ),
    "all seals removed": (
        ["DELETE FROM ledger.seals"],
        {"seals": {"seal": 1, "fault": "it is missing: more was sealed"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
async def test_damage_is_found_and_named(sealed: Sealed, name: str) -> None:
    statements, expected = DAMAGES[name]
    await sealed.tamper(*statements)
    failed = await sealed.broken()
    assert set(failed) == set(expected)
    for rule, names in expected.items():
        assert {figure: failed[rule].get(figure) for figure in names} == names, rule


SEAL_COLUMNS = {
    "number": "9", "epoch": "2", "first_xid": "'3'", "first_id": "1", "last_xid": "'4000000000'",
    "last_id": "last_id + 1", "journal_rows": "1", "sealed_at_us": "1", "previous": "sha256('x')",
    "digests": "sha256('x') || sha256('y')", "hash": "sha256('x')",
}  # fmt: skip


@pytest.mark.parametrize("column", SEAL_COLUMNS)
async def test_a_change_of_any_column_of_a_seal_is_found(sealed: Sealed, column: str) -> None:
    known = await sealed.ledger.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'ledger.seals'::regclass"
        " AND attnum > 0 AND attgenerated = ''"
    )
    assert {row["attname"] for row in known} == set(SEAL_COLUMNS)
    await sealed.ledger.run("ALTER TABLE ledger.seals DROP CONSTRAINT seals_digest_a_row")
    await sealed.tamper(
        f"UPDATE ledger.seals SET {column} = {SEAL_COLUMNS[column]} WHERE number = 2"
    )
    failed = await sealed.broken()
    assert failed["seals"]["seal"] == (3 if column == "number" else 2)
    head = await sealed.head()
    assert head.number == (9 if column == "number" else 3)


async def forget_seals(sealed: Sealed, where: str) -> None:
    """Remove seals with all that says that they were there."""
    await sealed.tamper(
        f"DELETE FROM ledger.seals WHERE {where}",
        "DELETE FROM projection.checkpoints WHERE sink = 'seal'",
    )


async def test_an_end_that_was_cut_off_is_found_by_a_head_that_was_noted(sealed: Sealed) -> None:
    noted = await sealed.head()
    await forget_seals(sealed, "number = 3")
    report = await sealed.follow()
    assert (report.held, report.unsealed_rows) == (True, 2)
    failed = await sealed.broken(head=noted)
    assert failed == {
        "head": {"seal": 3, "fault": "it is gone: the chain ends with seal 2", "epoch": 1}
    }


async def test_a_chain_that_was_made_anew_is_found_by_a_head_that_was_noted(
    sealed: Sealed,
) -> None:
    noted = await sealed.head()
    await forget_seals(sealed, "true")
    await sealed.tamper(f"UPDATE ledger.transfers SET amount = 101 WHERE id = {PAID}")
    assert await sealed.seal() == 3
    assert await sealed.broken() == {}
    failed = await sealed.broken(head=noted)
    assert failed["head"]["seal"] == 3
    assert "it has another hash" in failed["head"]["fault"]


async def test_from_a_seal_on_what_is_before_is_taken_as_it_is(sealed: Sealed) -> None:
    await sealed.tamper(f"UPDATE ledger.transfers SET amount = 401 WHERE id = {APPROVED}")
    assert (await sealed.broken())["sealed"]["seal"] == 2
    noted = await sealed.head()
    await sealed.ledger.pay_more(50, 106, (8, 10))
    assert await sealed.seal() == 1
    report = await sealed.follow(start=4, head=noted)
    assert report.held
    assert report.check("sealed").examined == 1
    await sealed.tamper("UPDATE ledger.transfers SET amount = 2 WHERE id = 50")
    assert (await sealed.broken(start=4))["sealed"]["journal_id"] == 106
    await forget_seals(sealed, "number = 3")
    assert (await sealed.broken(start=4))["seals"]["fault"] == "it is missing"
    with pytest.raises(UsageError):
        await sealed.follow(start=0)


async def test_where_the_seal_before_ends_is_not_taken_on_trust(sealed: Sealed) -> None:
    noted = await sealed.head()
    await sealed.ledger.pay_more(50, 106, (8, 10))
    await sealed.ledger.pay_more(51, 107, (9, 11))
    assert await sealed.seal() == 1
    await sealed.tamper(
        "DELETE FROM ledger.seals WHERE number = 4",
        "UPDATE ledger.seals SET (last_xid, last_id) = (SELECT xid, id FROM ledger.journal"
        " WHERE id = 106) WHERE number = 3",
        "DELETE FROM projection.checkpoints",
    )
    assert await sealed.seal() == 1
    failed = await sealed.broken(start=4, head=noted)
    assert failed["seals"] == {"seal": 3, "fault": "its content is not what its hash says"}


async def test_another_epoch_goes_on_with_the_chain_as_a_segment_of_its_own(
    sealed: Sealed,
) -> None:
    noted = await sealed.head()
    await sealed.ledger.run("UPDATE ledger.epoch SET epoch = 2")
    await sealed.ledger.pay_more(50, 106, (8, 10))
    assert await sealed.seal() == 1
    report = await sealed.follow(head=noted)
    assert report.held
    assert report.segments == ((1, 1), (2, 4))
    await sealed.ledger.run("UPDATE ledger.epoch SET epoch = 1")
    assert "epoch" in (await sealed.broken())["seals"]["fault"]


async def test_a_ledger_that_was_never_sealed_says_so(sealed: Sealed) -> None:
    await forget_seals(sealed, "true")
    report = await sealed.follow()
    assert (report.held, report.head, report.unsealed_rows) == (True, None, 6)


async def test_it_can_be_followed_while_payments_go_on_and_are_sealed(sealed: Sealed) -> None:
    done = asyncio.Event()

    async def write() -> None:
        for number in range(40):
            await sealed.ledger.pay_more(50 + number, 106 + number, (8 + number, 10 + number))
            if number % 3 == 0:
                await sealed.seal()
        done.set()

    writing = asyncio.create_task(write())
    heads = []
    while not done.is_set():
        report = await sealed.follow()
        assert report.held
        assert report.head is not None
        heads.append(report.head.number)
    await writing
    await sealed.seal()
    report = await sealed.follow()
    assert (report.held, report.check("sealed").examined, report.unsealed_rows) == (True, 46, 0)
    assert heads == sorted(heads)


async def test_the_tables_take_no_seal_that_does_not_follow(sealed: Sealed) -> None:
    connection = await asyncpg.connect(sealed.projector_dsn)
    add = (
        "INSERT INTO ledger.seals (number, epoch, first_xid, first_id, last_xid, last_id,"
        " journal_rows, sealed_at_us, previous, digests, hash) VALUES"
        " ($1, 1, '900', 1, '900', 1, 1, 1, $2, sha256('d'), sha256('h'))"
    )
    last = (await sealed.head()).hash
    for number, previous, error in (
        (5, last, asyncpg.ForeignKeyViolationError),
        (4, bytes(32), asyncpg.ForeignKeyViolationError),
        (3, last, asyncpg.UniqueViolationError),
    ):
        with pytest.raises(error):
            await connection.execute(add, number, previous)
    await connection.close()

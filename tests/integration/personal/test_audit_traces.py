"""Where those who change accounts were is sealed in the audit, until they are erased."""

from __future__ import annotations

import asyncpg
import pytest

from operations.seal import audit as sealing_job
from operations.seal.audit import seal_audit
from operations.traces import Traced
from operations.trail import TrailFilter
from paycore.domain.accounts import AccountId
from paycore.domain.money import Minor
from paycore.domain.transfers import Details
from paycore.runtime.clock import SystemClock
from paycore.runtime.data_keys import DataKeys
from paycore.runtime.traces import Tracer
from tests.integration.personal.conftest import Desk
from tests.integration.personal.test_event_traces import trail
from tests.support.account_commands import limit
from tests.support.command_core import TRAIL_KEY, opening
from tests.support.data_key_server import DataKeyServer
from tests.support.databases import OwnDatabase

PHONE, HOME = "canary-phone", "203.0.113.77"
CLERK = Details(user_id="clerk", device_id=PHONE, ip_address=HOME)
CHANGES = TrailFilter(sources=["LEDGER"], events=["SET_OVERDRAFT_LIMIT"])


async def written(admin: asyncpg.Connection) -> str:
    rows = await admin.fetch("SELECT a::text FROM ledger.audit AS a")
    return "\n".join(row[0] for row in rows)


async def change(desk: Desk, actor: Details = CLERK) -> AccountId:
    """Sets an account's limit, and opens one that has a limit from the first."""
    _, account = await desk.core.open(1, owner="ada")
    await desk.core.change(limit(account, 100, actor=actor))
    await desk.core.open_accounts([opening(overdraft_limit=Minor(5), actor=actor)])
    return account


async def test_who_may_unwrap_sees_where_it_was_and_nobody_once_the_clerk_is_erased(
    desk: Desk, database: OwnDatabase, signer: DataKeyServer, admin: asyncpg.Connection
) -> None:
    await change(desk)
    assert PHONE not in await written(admin)
    assert HOME not in await written(admin)
    shown = await trail(database, signer, wanted=CHANGES)
    assert [(one.traced, one.device, one.address, one.user, one.client) for one in shown] == [
        (Traced.OPENED, PHONE, HOME, "clerk", client) for client in ("loadtest", "operator")
    ]
    hidden = await trail(database, signer, "app", CHANGES)
    assert {(one.traced, one.device, one.address) for one in hidden} == {
        (Traced.SEALED, None, None)
    }
    for found in (
        TrailFilter(sources=["LEDGER"], device=PHONE),
        TrailFilter(sources=["LEDGER"], address=HOME),
    ):
        assert len(await trail(database, signer, wanted=found)) == 2
    await desk.erase("clerk")
    gone = await trail(database, signer, wanted=CHANGES)
    assert {
        (one.traced, one.device, one.address, one.device_hint, one.address_hint, one.user)
        for one in gone
    } == {(Traced.ERASED, None, None, None, None, "clerk")}
    assert await trail(database, signer, wanted=TrailFilter(sources=["LEDGER"], device=PHONE)) == []


async def test_no_change_waits_for_a_key_that_cannot_be_had(
    desk: Desk, database: OwnDatabase, signer: DataKeyServer, admin: asyncpg.Connection
) -> None:
    await signer.stop()
    await change(desk)
    await signer.start()
    shown = await trail(database, signer, wanted=CHANGES)
    assert {(one.traced, one.device, one.address) for one in shown} == {(Traced.HINTED, None, None)}
    assert PHONE not in await written(admin)
    assert len(await trail(database, signer, wanted=TrailFilter(device=PHONE))) == 2


async def test_of_an_actor_without_a_name_only_hints_are_kept(
    desk: Desk, database: OwnDatabase, signer: DataKeyServer, admin: asyncpg.Connection
) -> None:
    await change(desk, Details(device_id=PHONE, ip_address=HOME))
    await change(desk, Details())
    shown = await trail(database, signer, wanted=CHANGES)
    assert [one.traced for one in shown] == [None, None, Traced.HINTED, Traced.HINTED]
    assert PHONE not in await written(admin)


async def test_a_trace_that_was_moved_to_another_row_does_not_open(
    desk: Desk, database: OwnDatabase, signer: DataKeyServer, admin: asyncpg.Connection
) -> None:
    await change(desk)
    await admin.execute("ALTER TABLE ledger.audit DISABLE TRIGGER append_only")
    await admin.execute("UPDATE ledger.audit SET user_id = 'bob' WHERE client = 'operator'")
    await admin.execute("UPDATE ledger.audit SET traced_us = 1 WHERE client = 'loadtest'")
    await admin.execute("ALTER TABLE ledger.audit ENABLE ALWAYS TRIGGER append_only")
    shown = await trail(database, signer, wanted=CHANGES)
    assert [one.traced for one in shown] == [Traced.BROKEN, Traced.BROKEN]


async def test_plain_rows_of_a_release_before_are_sealed_and_sessions_keep_their_address(
    desk: Desk, database: OwnDatabase, signer: DataKeyServer, admin: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(sealing_job, "AT_ONCE", 1)
    _, account = await desk.core.open(1, owner="ada")
    raised = (
        "UPDATE ledger.accounts SET overdraft_limit = overdraft_limit + 1,"
        f" revision = revision + 1 WHERE id = {account}"
    )
    before = await asyncpg.connect(database.dsn("command"))
    async with before.transaction():
        for name, value in (
            ("client", "operator"),
            ("user_id", "clerk"),
            ("device_id", PHONE),
            ("ip_address", HOME),
        ):
            await before.execute("SELECT set_config($1, $2, true)", f"paycore.{name}", value)
        await before.execute(raised)
        await before.execute(raised)
    await before.execute(raised)
    await before.close()
    shown = await trail(database, signer, wanted=CHANGES)
    assert [(one.traced, one.device, one.address) for one in shown] == [
        (None, None, "127.0.0.1"),
        (Traced.PLAIN, PHONE, HOME),
        (Traced.PLAIN, PHONE, HOME),
    ]
    owner = await asyncpg.connect(database.dsn("owner"))
    async with signer.channel() as channel:
        tracer = Tracer(TRAIL_KEY, DataKeys(channel, SystemClock()))
        assert await seal_audit(owner, tracer) == 2
        assert await seal_audit(owner, tracer) == 0
    with pytest.raises(asyncpg.RestrictViolationError):
        await owner.execute("UPDATE ledger.audit SET reason = 'none'")
    await owner.close()
    assert PHONE not in await written(admin)
    shown = await trail(database, signer, wanted=CHANGES)
    assert [(one.traced, one.device, one.address) for one in shown] == [
        (None, None, "127.0.0.1"),
        (Traced.OPENED, PHONE, HOME),
        (Traced.OPENED, PHONE, HOME),
    ]
    await desk.erase("clerk")
    shown = await trail(database, signer, wanted=CHANGES)
    assert [one.traced for one in shown] == [None, Traced.ERASED, Traced.ERASED]

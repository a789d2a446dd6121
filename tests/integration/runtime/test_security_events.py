"""Security events become rows: alike ones one a window, bounded, and late rather than never."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import asyncpg
import pytest

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.limits import Limit
from paycore.runtime import security_events
from paycore.runtime.event_sinks import ServicesSink, SigningSink
from paycore.runtime.security_events import (
    FOLDED,
    LOST,
    Event,
    Kind,
    SecurityEvents,
    Sink,
    address_of,
)
from paycore.runtime.traces import Person
from tests.support.clocks import ManualClock
from tests.support.databases import OwnDatabase

METHOD = "paycore.v1.TransferService/SubmitTransfer"
DENIED = PaycoreError(Reason.NOT_PERMITTED, "no", {"grant": "REVERSE"})
LIMITED = PaycoreError(Reason.RATE_LIMITED, "no", {"limit": Limit.USER.value})
FOR_EVER_S = 3_600.0


@pytest.fixture
async def admin(database: OwnDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.admin_dsn)
    yield connection
    await connection.close()


def sink(database: OwnDatabase, role: str) -> Sink:
    if role == "signing":
        return SigningSink(database.dsn(role), "events")
    return ServicesSink(database.dsn(role), "events")


def lost(why: str) -> float:
    value: float = LOST.labels(why)._value.get()
    return value


def folded(event: Event) -> float:
    value: float = FOLDED.labels(event)._value.get()
    return value


class Named(NamedTuple):
    """An actor, as a message would name one."""

    user_id: str
    device_id: str
    ip_address: str


async def rows(admin: asyncpg.Connection, table: str = "audit.events") -> list[Any]:
    found: list[Any] = await admin.fetch(f"SELECT * FROM {table} ORDER BY id")
    return found


@pytest.mark.parametrize("role", ["command", "projector", "trail", "signing"])
async def test_every_service_writes_in_its_own_name(
    database: OwnDatabase, admin: asyncpg.Connection, role: str
) -> None:
    events = SecurityEvents(sink(database, role), ManualClock(), FOR_EVER_S)
    events.refused(DENIED, "app", METHOD, "ipv4:10.1.2.3:444", "r-1")
    await events.stop()
    (row,) = await rows(admin, "signing.events" if role == "signing" else "audit.events")
    assert (row["event"], row["client"], row["method"]) == ("CALL_DENIED", "app", METHOD)
    assert (row["reason"], row["ip_address"]) == ("NOT_PERMITTED: REVERSE", "10.1.2.3")
    assert (row["request_id"], row["database_user"]) == ("r-1", f"paycore_{role}")


async def test_a_flood_is_one_row_a_window(
    database: OwnDatabase, admin: asyncpg.Connection
) -> None:
    clock = ManualClock()
    events = SecurityEvents(sink(database, "command"), clock, FOR_EVER_S)
    for number in range(5_000):
        clock.at_s += 0.001
        events.refused(DENIED, "app", METHOD, f"ipv4:10.0.0.{number % 9}:1", f"r-{number}")
    events.refused(DENIED, None, METHOD, "unix:", "other")
    assert await events.write()
    events.refused(DENIED, "app", METHOD, "ipv4:10.0.0.1:1", "later")
    await events.stop()
    flood, nobody, later = await rows(admin)
    assert (flood["count"], flood["request_id"], flood["ip_address"]) == (5_000, "r-0", "10.0.0.0")
    assert flood["last_us"] - flood["first_us"] == pytest.approx(4_999_000, abs=5)
    assert (nobody["client"], nobody["ip_address"], nobody["count"]) == (None, None, 1)
    assert later["count"] == 1


async def test_windows_end_by_themselves(database: OwnDatabase, admin: asyncpg.Connection) -> None:
    events = SecurityEvents(sink(database, "command"), ManualClock(), 0.05)
    events.start()
    events.refused(DENIED, "app", METHOD, "", "r")
    async with asyncio.timeout(60):
        while not await rows(admin):
            await asyncio.sleep(0.02)
    await events.stop()
    assert len(await rows(admin)) == 1


async def test_what_is_no_security_event_leaves_nothing(
    database: OwnDatabase, admin: asyncpg.Connection
) -> None:
    events = SecurityEvents(sink(database, "command"), ManualClock(), FOR_EVER_S)
    for reason in (Reason.INSUFFICIENT_FUNDS, Reason.INVALID_FIELD, Reason.OVERLOADED):
        events.refused(PaycoreError(reason, "no"), "app", METHOD, "", "r")
    await events.stop()
    assert await rows(admin) == []


async def test_a_flood_of_made_up_devices_hides_no_other_event_and_no_other_client(
    database: OwnDatabase, admin: asyncpg.Connection
) -> None:
    before = folded(Event.STEP_UP_REFUSED)
    events = SecurityEvents(sink(database, "command"), ManualClock(), FOR_EVER_S)

    def refused(client: str, number: int) -> None:
        device, person = f"device-{number}", Person(f"user-{number}", f"device-{number}", None)
        kind = Kind(Event.STEP_UP_REFUSED, client, None, "DEVICE", person.user_id, device)
        events.note(kind, person=person)

    for number in range(5_000):
        refused("app", number)
    refused("other", 1)
    refused("app", 7)
    events.refused(DENIED, "stranger", METHOD)
    events.refused(LIMITED, "app", METHOD, actor=Named("victim", "phone", "192.0.2.1"))
    await events.stop()
    found = await rows(admin)
    flood = [row for row in found if row["event"] == Event.STEP_UP_REFUSED]
    apart = [row for row in flood if row["user_id"] is not None]
    assert len(apart) == security_events.MOST_KINDS
    assert {row["user_id"]: row["count"] for row in apart}["user-7"] == 2
    together = [
        (row["client"], row["reason"], row["count"]) for row in flood if row["user_id"] is None
    ]
    assert together == [
        ("app", "DEVICE", 5_000 - security_events.MOST_KINDS),
        ("other", "DEVICE", 1),
    ]
    assert folded(Event.STEP_UP_REFUSED) - before == 5_000 - security_events.MOST_KINDS + 1
    assert [(row["event"], row["client"], row["user_id"]) for row in found[len(flood) :]] == [
        ("CALL_DENIED", "stranger", None),
        ("LIMIT_TRIPPED", "app", "victim"),
    ]


async def test_a_window_is_bounded_whatever_an_attacker_makes_up(
    database: OwnDatabase, admin: asyncpg.Connection
) -> None:
    events = SecurityEvents(sink(database, "command"), ManualClock(), FOR_EVER_S)
    for number in range(1_000):
        events.refused(DENIED, "app", f"made.Up/Method{number}")
    for number in range(100):
        events.refused(DENIED, f"client-{number}", METHOD)
    assert await events.write()
    one, folds = security_events.MOST_KINDS, security_events.MOST_FOLDED
    clients = security_events.MOST_CLIENTS
    found = await rows(admin)
    assert len(found) == one + folds + clients + 1
    assert sum(row["count"] for row in found) == 1_100
    by_client = [row for row in found if row["reason"] == security_events.FOLDED_REASON]
    assert [(row["client"], row["method"], row["count"]) for row in by_client] == [
        ("app", None, 1_000 - one - folds),
        *((f"client-{number}", None, 1) for number in range(clients - 1)),
        (None, None, 100 - clients + 1),
    ]
    # The next window has room again.
    events.refused(DENIED, "client-99", METHOD)
    await events.stop()
    assert (await rows(admin))[-1]["client"] == "client-99"


async def test_rows_wait_while_the_database_takes_none_and_the_oldest_go(
    database: OwnDatabase, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(security_events, "MOST_WAITING", 3)
    before = lost("WAITING")
    await admin.execute("REVOKE USAGE ON SCHEMA audit FROM paycore_command")
    events = SecurityEvents(sink(database, "command"), ManualClock(), FOR_EVER_S)
    for number in range(5):
        events.note(Kind(Event.CALL_DENIED, f"client-{number}", METHOD, "NOT_PERMITTED"))
        assert not await events.write()
    await admin.execute("GRANT USAGE ON SCHEMA audit TO paycore_command")
    assert await events.write()
    await events.stop()
    assert [row["client"] for row in await rows(admin)] == ["client-2", "client-3", "client-4"]
    assert lost("WAITING") - before == 2


async def test_a_database_that_is_away_at_the_end_is_not_waited_for() -> None:
    before = lost("ENDED")
    away = ServicesSink("postgresql://nobody@127.0.0.1:1/none", "events")
    events = SecurityEvents(away, ManualClock(), FOR_EVER_S)
    events.note(Kind(Event.CALL_DENIED, "app", METHOD, "NOT_PERMITTED"))
    async with asyncio.timeout(60):
        await events.stop()
    assert lost("ENDED") - before == 1


async def test_a_row_that_the_table_refuses_does_not_hold_up_the_rest(
    database: OwnDatabase, admin: asyncpg.Connection
) -> None:
    before = lost("REFUSED")
    events = SecurityEvents(sink(database, "command"), ManualClock(), FOR_EVER_S)
    events.note(Kind("no event", "app", METHOD, "NOT_PERMITTED"))
    await events.write()
    long = "\0" + 1_000 * "ü"
    events.note(Kind(Event.CALL_DENIED, long, long, long, long, long), long, long)
    await events.stop()
    (row,) = await rows(admin)
    assert row["client"] == 128 * "ü"
    assert lost("REFUSED") - before == 1


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:5000", "127.0.0.1"),
        ("ipv6:%5B::1%5D:5000", "::1"),
        ("ipv6:[2001:db8::7]:9", "2001:db8::7"),
        ("unix:/run/x", None),
        ("", None),
    ],
)
def test_the_address_is_taken_from_the_name_of_the_peer(peer: str, address: str | None) -> None:
    assert address_of(peer) == address

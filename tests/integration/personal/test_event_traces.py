"""Security events tell where a person was, to whoever may know, until the person is erased."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from operations.deployment import Deployment
from operations.seal import events as sealing_job
from operations.seal.events import seal_events
from operations.traces import Traced
from operations.trail import TrailEntry, TrailFilter, read_trail
from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.clock import SystemClock
from paycore.runtime.data_keys import DataKeys
from paycore.runtime.event_sinks import ServicesSink
from paycore.runtime.security_events import Event, Kind, SecurityEvents
from paycore.runtime.traces import Hinted, Person, Tracer, hint
from paycore.v1 import actor_pb2
from tests.integration.personal.conftest import Desk
from tests.support.clocks import ManualClock
from tests.support.data_key_server import DataKeyServer
from tests.support.databases import OwnDatabase

SECRET = bytes(range(32))
PHONE, HOME = "canary-phone", "203.0.113.77"
FOR_EVER_S = 3_600.0


@asynccontextmanager
async def noted(
    database: OwnDatabase, signer: DataKeyServer, *, keys: DataKeys | None = None
) -> AsyncIterator[SecurityEvents]:
    """What is noted meanwhile is written at the end."""
    async with signer.channel() as channel:
        tracer = Tracer(SECRET, keys or DataKeys(channel, SystemClock()))
        sink = ServicesSink(database.dsn("command"), "events", tracer)
        events = SecurityEvents(sink, ManualClock(), FOR_EVER_S)
        yield events
        await events.stop()


def refuse(
    events: SecurityEvents, user: str, acted: str, device: str = PHONE, address: str = HOME
) -> None:
    kind = Kind(Event.STEP_UP_REFUSED, "app", None, "PIN_INCORRECT", user, device)
    events.note(kind, person=Person(acted, device, address))


async def trail(
    database: OwnDatabase,
    signer: DataKeyServer,
    identity: str = "operator",
    wanted: TrailFilter | None = None,
) -> list[TrailEntry]:
    deployment = Deployment(
        targets={"signing": signer.target},
        tls=database.endpoints.tls[identity],
        audit_dsn=database.dsn("audit"),
        operator_dsn=None,
        redis_url=None,
        index=None,
        state=None,
        trail_key=SECRET,
    )
    page = await read_trail(deployment, wanted or TrailFilter(sources=["SERVICES"]), 100)
    return list(page.entries)


async def everything(admin: asyncpg.Connection) -> str:
    rows = await admin.fetch("SELECT e::text FROM audit.events AS e")
    return "\n".join(row[0] for row in rows)


async def test_who_may_unwrap_sees_where_it_was_and_others_see_hints(
    database: OwnDatabase, signer: DataKeyServer, admin: asyncpg.Connection
) -> None:
    async with noted(database, signer) as events:
        refuse(events, "ada", "clerk")
    written = await everything(admin)
    assert PHONE not in written
    assert HOME not in written
    (shown,) = await trail(database, signer)
    assert (shown.traced, shown.device, shown.address) == (Traced.OPENED, PHONE, HOME)
    assert (shown.user, shown.acting_user) == ("ada", "clerk")
    (hidden,) = await trail(database, signer, "app")
    assert (hidden.traced, hidden.device, hidden.address) == (Traced.SEALED, None, None)
    assert hidden.device_hint == hint(SECRET, Hinted.DEVICE, PHONE)
    assert hidden.address_hint == hint(SECRET, Hinted.ADDRESS, HOME)


@pytest.mark.parametrize("erased", ["ada", "clerk"])
async def test_erasing_either_erases_the_trace_and_leaves_the_event(
    database: OwnDatabase, signer: DataKeyServer, desk: Desk, erased: str
) -> None:
    async with noted(database, signer) as events:
        refuse(events, "ada", "clerk")
        refuse(events, "bob", "bob", "other-phone")
    wanted = TrailFilter(device=PHONE)
    assert [one.user for one in await trail(database, signer, wanted=wanted)] == ["ada"]
    await desk.erase(erased)
    gone, kept = sorted(await trail(database, signer), key=lambda one: one.user or "")
    assert (gone.traced, gone.event, gone.count) == (Traced.ERASED, "STEP_UP_REFUSED", 1)
    assert (gone.device, gone.address, gone.device_hint, gone.address_hint) == (None,) * 4
    assert (kept.traced, kept.device) == (Traced.OPENED, "other-phone")
    assert await trail(database, signer, wanted=wanted) == []


async def test_without_keys_the_event_is_written_at_once_with_hints(
    database: OwnDatabase, signer: DataKeyServer
) -> None:
    async with noted(database, signer) as events:
        refuse(events, "ada", "clerk")
        await signer.stop()
    await signer.start()
    (shown,) = await trail(database, signer, wanted=TrailFilter(address=HOME))
    assert (shown.traced, shown.device, shown.user) == (Traced.HINTED, None, "ada")


async def test_another_device_with_the_same_hint_is_shown_to_those_alone_who_cannot_tell(
    database: OwnDatabase, signer: DataKeyServer
) -> None:
    own = hint(SECRET, Hinted.DEVICE, PHONE)
    names = (f"device-{number}" for number in itertools.count())
    other = next(name for name in names if hint(SECRET, Hinted.DEVICE, name) == own)
    async with noted(database, signer) as events:
        refuse(events, "ada", "ada")
        refuse(events, "bob", "bob", other)
    wanted = TrailFilter(device=PHONE)
    assert [one.user for one in await trail(database, signer, wanted=wanted)] == ["ada"]
    assert len(await trail(database, signer, "app", wanted)) == 2


async def test_a_trace_that_was_moved_to_another_event_does_not_open(
    database: OwnDatabase, signer: DataKeyServer, admin: asyncpg.Connection
) -> None:
    async with noted(database, signer) as events:
        refuse(events, "ada", "ada")
    await admin.execute("ALTER TABLE audit.events DISABLE TRIGGER append_only")
    await admin.execute("UPDATE audit.events SET user_id = 'bob'")
    (shown,) = await trail(database, signer)
    assert (shown.traced, shown.device) == (Traced.BROKEN, None)


@pytest.mark.parametrize(
    ("limit", "alike"),
    [("user", "ada"), ("device", "phone"), ("velocity", "phone"), ("address", "192.0.2.1")],
)
async def test_a_persons_limit_names_whom_it_stopped(
    database: OwnDatabase, signer: DataKeyServer, limit: str, alike: str
) -> None:
    error = PaycoreError(Reason.RATE_LIMITED, "too many", {"limit": limit})
    shared = {"user_id": "ada", "device_id": "phone", "ip_address": "192.0.2.1"}
    async with noted(database, signer) as events:
        for number in range(3):
            named = {
                name: value if value == alike else f"{value}-{number}"
                for name, value in shared.items()
            }
            actor = actor_pb2.Actor(**named)
            events.refused(error, "app", "m", "ipv4:10.0.0.9:1", "r", actor)
    (shown,) = await trail(database, signer)
    assert (shown.event, shown.count, shown.reason) == (
        "LIMIT_TRIPPED",
        3,
        f"RATE_LIMITED: {limit}",
    )
    assert alike in (shown.user, shown.device, shown.address)
    assert (shown.traced, shown.machine) == (Traced.OPENED, "10.0.0.9")


@pytest.mark.parametrize("reason", [Reason.NOT_PERMITTED, Reason.UNAUTHENTICATED])
async def test_whom_a_denied_caller_names_is_not_believed(
    database: OwnDatabase, signer: DataKeyServer, reason: Reason
) -> None:
    actor = actor_pb2.Actor(user_id="ada", device_id=PHONE, ip_address=HOME)
    async with noted(database, signer) as events:
        events.refused(PaycoreError(reason, "no"), "app", "m", "ipv4:10.0.0.9:1", "r", actor)
    (shown,) = await trail(database, signer)
    assert (shown.user, shown.traced, shown.address) == (None, None, "10.0.0.9")


async def test_rows_of_the_release_before_are_sealed_by_the_owners_job(
    database: OwnDatabase,
    signer: DataKeyServer,
    admin: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sealing_job, "AT_ONCE", 2)
    await admin.execute(
        "INSERT INTO audit.events"
        " (first_us, last_us, event, client, user_id, device_id, ip_address)"
        " SELECT n, n, 'STEP_UP_REFUSED', 'app', CASE WHEN n < 4 THEN 'ada' END, $1, $2"
        " FROM generate_series(1, 5) AS n",
        PHONE,
        HOME,
    )
    await admin.execute(
        "INSERT INTO audit.events (first_us, last_us, event, ip_address)"
        " VALUES (6, 6, 'CALL_DENIED', '10.0.0.1')"
    )
    assert {one.traced for one in await trail(database, signer)} == {Traced.PLAIN, None}
    owner = await asyncpg.connect(database.dsn("owner"))
    async with signer.channel() as channel:
        tracer = Tracer(SECRET, DataKeys(channel, SystemClock()))
        assert await seal_events(owner, tracer) == 5
        assert await seal_events(owner, tracer) == 0
    written = await everything(admin)
    assert PHONE not in written
    assert HOME not in written
    found = await trail(database, signer)
    assert [one.traced for one in found] == [None, *[Traced.HINTED] * 2, *[Traced.OPENED] * 3]
    assert {one.device for one in found[3:]} == {PHONE}
    assert found[0].address == "10.0.0.1"
    with pytest.raises(asyncpg.RestrictViolationError):
        await owner.execute("UPDATE audit.events SET device_hint = NULL")
    await owner.close()


async def test_the_owners_job_loses_nothing_for_want_of_a_key(
    database: OwnDatabase, signer: DataKeyServer, admin: asyncpg.Connection
) -> None:
    await admin.execute(
        "INSERT INTO audit.events (first_us, last_us, event, user_id, device_id)"
        " VALUES (1, 1, 'STEP_UP_REFUSED', 'ada', $1)",
        PHONE,
    )
    owner = await asyncpg.connect(database.dsn("owner"))
    async with signer.channel() as channel:
        await signer.stop()
        with pytest.raises(PaycoreError, match="SIGNER_UNAVAILABLE"):
            await seal_events(owner, Tracer(SECRET, DataKeys(channel, SystemClock())))
    await owner.close()
    assert PHONE in await everything(admin)

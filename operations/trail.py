"""The trail of security: what was changed, refused, failed and locked, read from the database."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

import database
from operations.deployment import Deployment
from operations.errors import UnavailableError, UsageError
from operations.traces import Traced, open_traces
from paycore.runtime.traces import Hinted, Person, hint, one_way

CONNECT_TIMEOUT_S = 5.0
SOURCES = ("LEDGER", "SERVICES", "SIGNING")
"""Changes of accounts, grants and policies; refusals by services; the signing service's events."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = 2**63 - 1
_US = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class TrailFilter:
    """What is wanted: entries that match all that is set."""

    start: datetime | None = None
    end: datetime | None = None
    """Exclusive."""
    sources: Sequence[str] = SOURCES
    events: Sequence[str] = ()
    client: str | None = None
    user: str | None = None
    device: str | None = None
    address: str | None = None
    account: int | None = None


@dataclass(frozen=True, slots=True)
class TrailEntry:
    """One change or event, or `count` events that are alike from `time` to `last`."""

    source: str
    id: int
    time: datetime
    last: datetime
    count: int
    event: str
    client: str | None
    method: str | None
    user: str | None
    device: str | None
    address: str | None
    """Of the person, where it is known and can be shown, else of the machine that called."""
    machine: str | None
    traced: Traced | None
    """What became of the person's device and address, where there were any."""
    acting_user: str | None
    """Who acted, where that is sealed and could be opened."""
    device_hint: str | None
    address_hint: str | None
    subject: str | None
    reason: str | None
    request_id: str | None
    database_user: str | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class TrailPage:
    """Entries, the newest first, and where to go on; empty at the end."""

    entries: Sequence[TrailEntry]
    next_page_token: str
    sealed_searched: bool
    """Whether sealed devices and addresses were looked at too, which takes the trail's key."""


async def read_trail(
    deployment: Deployment, wanted: TrailFilter, most: int, page_token: str = ""
) -> TrailPage:
    """The newest `most` entries that are `wanted`, or those after the page that gave `page_token`.

    Traces of persons are opened where the deployment's caller may have their keys. A page may have
    fewer entries where hints found others than were looked for. Without the trail's key a device or
    an address is found only where it stands in the open, and the page says so. Raises UsageError,
    UnavailableError.
    """
    if deployment.audit_dsn is None:
        raise UsageError("the trail is read from the database: set PAYCORE_AUDIT_DSN")
    before_us, before_source, before_id = _place(page_token)
    secret = deployment.trail_key
    queries = database.load("audit")
    try:
        connection = await asyncpg.connect(deployment.audit_dsn, timeout=CONNECT_TIMEOUT_S)
        try:
            rows: Sequence[Any] = await queries.trail(
                connection,
                from_us=0 if wanted.start is None else _us(wanted.start),
                until_us=_LAST if wanted.end is None else _us(wanted.end) - 1,
                sources=list(wanted.sources),
                events=list(wanted.events) or None,
                client=wanted.client,
                user_id=wanted.user,
                device_id=wanted.device,
                device_hint=_hint(secret, Hinted.DEVICE, wanted.device),
                ip_address=wanted.address,
                address_hint=_hint(secret, Hinted.ADDRESS, wanted.address),
                subject=None if wanted.account is None else f"account/{wanted.account}",
                before_us=before_us,
                before_source=before_source,
                before_id=before_id,
                most=most + 1,
            )
        finally:
            await connection.close()
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError) as error:
        raise UnavailableError(f"PostgreSQL cannot be reached: {error}") from error
    persons = await open_traces(deployment, rows[:most])
    entries = [_entry(row, *person) for row, person in zip(rows, persons, strict=False)]
    token = _token(entries[-1]) if len(rows) > most else ""
    unsearched = secret is None and bool(wanted.device or wanted.address)
    return TrailPage([one for one in entries if _is_meant(one, wanted)], token, not unsearched)


def _hint(secret: bytes | None, of: Hinted, text: str | None) -> str | None:
    """The hint to look for; None without the key: a hint under another would find others."""
    return None if secret is None else hint(secret, of, text)


def _is_meant(entry: TrailEntry, wanted: TrailFilter) -> bool:
    """Whether an entry that was found by a hint is one of those looked for, as far as one sees."""
    if entry.traced is not Traced.OPENED:
        return True
    return (wanted.device is None or wanted.device == entry.device) and (
        wanted.address is None
        or wanted.address == entry.machine
        or one_way(wanted.address) == one_way(entry.address or "")
    )


def _entry(row: Any, traced: Traced | None, person: Person) -> TrailEntry:
    return TrailEntry(
        source=row["source"],
        id=row["id"],
        time=_EPOCH + row["first_us"] * _US,
        last=_EPOCH + row["last_us"] * _US,
        count=row["count"],
        event=row["event"],
        client=row["client"],
        method=row["method"],
        user=row["user_id"],
        device=person.device_id or row["device_id"],
        address=person.ip_address or row["ip_address"],
        machine=row["ip_address"],
        traced=traced,
        acting_user=person.user_id,
        device_hint=row["device_hint"],
        address_hint=row["address_hint"],
        subject=row["subject"],
        reason=row["reason"],
        request_id=row["request_id"],
        database_user=row["database_user"],
        before=None if row["before"] is None else json.loads(row["before"]),
        after=None if row["after"] is None else json.loads(row["after"]),
    )


def _token(entry: TrailEntry) -> str:
    place = json.dumps([_us(entry.time), entry.source, entry.id])
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def _place(token: str) -> tuple[int, str, int]:
    """Where a page ended; without a token, behind everything. Raises UsageError."""
    if not token:
        return _LAST, "~", _LAST
    try:
        place = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        at_us, source, entry = place
    except (binascii.Error, ValueError, TypeError) as error:
        raise UsageError("the page token is none that was given out") from error
    if not isinstance(at_us, int) or source not in SOURCES or not isinstance(entry, int):
        raise UsageError("the page token is none that was given out")
    return at_us, source, entry


def _us(moment: datetime) -> int:
    return (moment - _EPOCH) // _US

"""Events that matter to security, gathered while calls go on and written beside them.

Events that are alike become one row a window, so no flood of refused calls fills the table, and
noting one never waits: a database that is away costs rows, which are counted, and no payment.
"""

from __future__ import annotations

import asyncio
from collections import Counter as CountOf
from collections import deque
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import islice
from typing import Any, NamedTuple, Protocol

import asyncpg
import structlog
from prometheus_client import Counter

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.limits import Limit
from paycore.domain.subjects import MAX_SUBJECT
from paycore.runtime.clock import Clock
from paycore.runtime.database import DISCONNECTED
from paycore.runtime.metric_definitions import Named, counter, gauge
from paycore.runtime.traces import Person
from paycore.runtime.untold import in_background

MOST_KINDS = 200
"""Kinds of one event that a window tells apart. Each event has room of its own: a flood of
one, with devices or users that an attacker makes up, takes nothing from the others."""

MOST_FOLDED = 100
"""Kinds without users, devices and addresses that it holds beyond those: with all others that
differ from them in nothing else."""

MOST_CLIENTS = 50
"""Clients of whom it still counts an event beyond those. Of all others it is one row."""

MOST_WAITING = 5_000
"""Rows that wait for the database; of more, the oldest go."""

ROWS_AT_ONCE = 500
"""Rows in one statement: as many as the signing service gives two keys each for, in one call."""

WRITE_WITHIN_S = 2.0
"""How long one statement may take, with its connection and the keys of its rows, in seconds."""

MOST_OF_A_NAME = 128
"""Characters that are kept of what a request calls a device or an address: a flood of long ones
takes no memory."""

NOTED = counter(
    "paycore_security_events_total",
    "Security events, by event.",
    unit="events",
    labels={"event": Named("a kind of event, as docs/audit.md has them")},
)
LOST = counter(
    "paycore_security_events_lost_total",
    "Security events that no row tells of, by why: WAITING (the database was away for too long),"
    " ENDED (the process ended meanwhile), REFUSED (by the table).",
    unit="events",
    labels={"why": ("WAITING", "ENDED", "REFUSED")},
)
FOLDED = counter(
    "paycore_security_events_folded_total",
    "Security events whose row does not tell all of them: their window had too many kinds.",
    unit="events",
    labels={"event": Named("a kind of event, as docs/audit.md has them")},
)
WAITING = gauge(
    "paycore_security_event_rows_waiting",
    "Rows that wait for the database.",
    unit="rows",
)

log = structlog.get_logger()


class Event(StrEnum):
    """What a process itself sees happen."""

    CALL_DENIED = "CALL_DENIED"
    """A caller without a name, or one that may not do this."""
    LIMIT_TRIPPED = "LIMIT_TRIPPED"
    STEP_UP_REFUSED = "STEP_UP_REFUSED"
    """A proof, or an authorization, that did not hold."""
    CERTIFICATE_RENEWED = "CERTIFICATE_RENEWED"
    """The process shows another certificate, or trusts other authorities."""
    CERTIFICATE_REFUSED = "CERTIFICATE_REFUSED"
    """Its files were replaced by what it cannot use; the earlier ones stay."""


REFUSED_CALLS: dict[Reason, Event] = {
    Reason.UNAUTHENTICATED: Event.CALL_DENIED,
    Reason.NOT_PERMITTED: Event.CALL_DENIED,
    Reason.RATE_LIMITED: Event.LIMIT_TRIPPED,
}
"""Refusals of calls that are security events, whoever refuses."""

_OF_ACTOR: dict[str, str] = {
    Limit.USER.value: "user_id",
    Limit.DEVICE.value: "device_id",
    Limit.VELOCITY.value: "device_id",
    Limit.ADDRESS.value: "ip_address",
}
"""Limits of those for whom a client acts, and what those have in common who share one."""


class Kind(NamedTuple):
    """What makes events alike. `client` is None where the certificate names nobody; device and
    address are those of a person, where that is what they have in common. Never printed."""

    event: str
    client: str | None
    method: str | None
    reason: str
    user_id: str | None = None
    device_id: str | None = None
    ip_address: str | None = None

    def __repr__(self) -> str:
        return f"Kind({self.event}, {self.client}, {self.method}, {self.reason}, ***)"


FOLDED_REASON = "FOLDED"
"""The reason of a row that stands for events which differ in more than whom they are about."""


def _folds(kind: Kind) -> Iterator[tuple[Kind, int]]:
    """`kind`, and what it is folded into where there is no room for it; each with its room. What an
    attacker chooses goes first."""
    yield kind, MOST_KINDS
    yield Kind(kind.event, kind.client, kind.method, kind.reason), MOST_FOLDED
    yield Kind(kind.event, kind.client, None, FOLDED_REASON), MOST_CLIENTS
    yield Kind(kind.event, None, None, FOLDED_REASON), 1


class Row(NamedTuple):
    """`times` events of one kind, with where the first of them came from; times in microseconds
    since 1970."""

    kind: Kind
    ip_address: str | None
    """Of the machine that called."""
    request_id: str | None
    first_us: int
    last_us: int
    times: int
    person: Person | None = None
    """For whom it called, where that is known and believed."""

    @property
    def user_id(self) -> str | None:
        """Whom it is about."""
        return self.kind.user_id or (self.person.user_id if self.person else None)


class Actor(Protocol):
    """paycore.v1.Actor, or what was made of it."""

    @property
    def user_id(self) -> str: ...

    @property
    def device_id(self) -> str: ...

    @property
    def ip_address(self) -> str: ...


class Sink(Protocol):
    """Where rows are kept."""

    async def write(self, rows: Sequence[Row]) -> None:
        """Keep all of `rows` or none. Raises one of DISCONNECTED or asyncpg.PostgresError."""
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...


class SecurityEvents:
    """Gathers events from the first moment; `start` and they are written, window by window."""

    def __init__(self, sink: Sink, clock: Clock, window_s: float) -> None:
        """`window_s` is how long events that are alike make one row, in seconds: a process that is
        killed takes those of its last window with it."""
        self._sink = sink
        self._clock = clock
        self._window_s = window_s
        self._open: dict[Kind, Row] = {}
        self._taken: CountOf[tuple[str, int]] = CountOf()
        """Rows of this window by event and by how far they are folded."""
        self._waiting: deque[Row] = deque()
        self._counted: dict[str, Counter] = {}
        self._ending = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Write each window's rows when it ends."""
        self._writing = in_background(self._run(), "security-events")

    def note(
        self,
        kind: Kind,
        ip_address: str | None = None,
        request_id: str | None = None,
        person: Person | None = None,
    ) -> None:
        """One event happened now, asked for by the machine at `ip_address`, for `person`. Neither
        waits nor fails."""
        counted = self._counted.get(kind.event)
        if counted is None:
            counted = self._counted[kind.event] = NOTED.labels(kind.event)
        counted.inc()
        now_us = self._clock.now_us()
        row = self._open.get(kind)
        if row is None:
            held = self._with_room(kind)
            if held is not kind:
                FOLDED.labels(kind.event).inc()
                # It stands for several: the first of them is not whom it is about.
                kind, person = held, None
                row = self._open.get(kind)
        if row is not None:
            # A clock that is set back does not end an event before it began.
            last_us = max(row.last_us, now_us)
            self._open[kind] = row._replace(last_us=last_us, times=row.times + 1)
        else:
            self._open[kind] = Row(kind, ip_address, request_id, now_us, now_us, 1, person)

    def _with_room(self, kind: Kind) -> Kind:
        """`kind` if the window has room for it, else what it is folded into."""
        folded = kind
        for step, (folded, room) in enumerate(_folds(kind)):
            if folded in self._open:
                break
            if self._taken[kind.event, step] < room:
                self._taken[kind.event, step] += 1
                break
        return folded

    def refused(
        self,
        error: PaycoreError,
        client: str | None,
        method: str,
        peer: str = "",
        request_id: str | None = None,
        actor: Actor | None = None,
    ) -> None:
        """A call or an item of one was refused: an event, if REFUSED_CALLS has its reason.

        gRPC names the `peer`. The `actor` whom the request names counts where a limit of theirs
        tripped: only then has it been found that the client may speak for them.
        """
        event = REFUSED_CALLS.get(error.reason)
        if event is None:
            return
        kind, person = Kind(event, client, method, reason_of(error)), None
        limit = error.metadata.get("limit")
        if actor is not None and event is Event.LIMIT_TRIPPED and limit in _OF_ACTOR:
            person = person_of(actor)
            kind = kind._replace(**{_OF_ACTOR[limit]: getattr(person, _OF_ACTOR[limit])})
        self.note(kind, address_of(peer), request_id, person)

    async def stop(self) -> None:
        """Write what is left, if the database takes it now, and close."""
        self._ending.set()
        if self._writing is not None:
            await self._writing
        if not await self.write():
            lost = sum(row.times for row in self._waiting)
            LOST.labels("ENDED").inc(lost)
            log.error("security events were not written", events=lost)
        await self._sink.close()

    async def _run(self) -> None:
        while not self._ending.is_set():
            try:
                async with asyncio.timeout(self._window_s):
                    await self._ending.wait()
            except TimeoutError:
                await self.write()

    async def write(self) -> bool:
        """End the window and write what waits; returns whether nothing waits any more."""
        self._waiting.extend(self._open.values())
        self._open.clear()
        self._taken.clear()
        while len(self._waiting) > MOST_WAITING:
            LOST.labels("WAITING").inc(self._waiting.popleft().times)
        try:
            while self._waiting:
                rows = list(islice(self._waiting, ROWS_AT_ONCE))
                async with asyncio.timeout(WRITE_WITHIN_S):
                    await self._sink.write(rows)
                for _ in rows:
                    self._waiting.popleft()
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            # Sent again they would be refused again, and hold up all that follows.
            for _ in range(min(len(self._waiting), ROWS_AT_ONCE)):
                LOST.labels("REFUSED").inc(self._waiting.popleft().times)
            log.error("security events were refused", exc_info=error)
        except (*DISCONNECTED, asyncpg.PostgresError) as error:
            log.warning("security events wait", rows=len(self._waiting), error=type(error).__name__)
        except Exception as error:
            # A defect: rows wait as far as there is room, and those that follow are still counted.
            log.exception(
                "security events wait", rows=len(self._waiting), error=type(error).__name__
            )
        WAITING.set(len(self._waiting))
        return not self._waiting


def actor_of(request: Any) -> Actor | None:
    """The actor whom a message names, if it is one that can and does."""
    if request is None or "actor" not in request.DESCRIPTOR.fields_by_name:
        return None
    actor: Actor | None = request.actor if request.HasField("actor") else None
    return actor


def person_of(actor: Actor) -> Person:
    """As much of `actor` as is kept."""
    return Person(
        # One more than a subject has: what is cut short must not pass for another user.
        actor.user_id[: MAX_SUBJECT + 1] or None,
        actor.device_id[:MOST_OF_A_NAME] or None,
        actor.ip_address[:MOST_OF_A_NAME] or None,
    )


def reason_of(error: PaycoreError) -> str:
    """What a row says of `error`: its reason, with the limit or the grant that it names."""
    named = error.metadata.get("limit") or error.metadata.get("grant")
    return error.reason.value if not named else f"{error.reason.value}: {named}"


def address_of(peer: str) -> str | None:
    """The address in gRPC's name of a peer: `ipv4:127.0.0.1:5000`, `ipv6:%5B::1%5D:5000`."""
    family, _, place = peer.partition(":")
    if family not in ("ipv4", "ipv6"):
        return None
    return place.rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]") or None

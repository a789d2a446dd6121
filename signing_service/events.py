"""Security events: the one place through which each of them goes."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import structlog

from paycore.runtime.security_events import Kind, SecurityEvents
from signing_service.acting import ACTING
from signing_service.metrics import EVENTS

log = structlog.get_logger()


class Event(StrEnum):
    """What happened to a user's PIN or devices."""

    PIN_ENROLLED = "PIN_ENROLLED"
    PIN_CHANGED = "PIN_CHANGED"
    PIN_RESET = "PIN_RESET"
    PIN_UNLOCKED = "PIN_UNLOCKED"
    PIN_INCORRECT = "PIN_INCORRECT"
    PIN_LOCKED = "PIN_LOCKED"
    PIN_REFUSED = "PIN_REFUSED"
    """Not set: too weak, or one is in force."""
    DEVICE_ENROLLED = "DEVICE_ENROLLED"
    DEVICE_VOUCHED_FOR = "DEVICE_VOUCHED_FOR"
    DEVICE_REVOKED = "DEVICE_REVOKED"
    DEVICE_REFUSED = "DEVICE_REFUSED"
    """A signature that is not that of a device of the user which is in force."""


REFUSALS = frozenset({Event.PIN_REFUSED, Event.DEVICE_REFUSED})
"""Those that change no table: of all others the tables themselves write a row, with the change."""

_written: list[SecurityEvents] = []
"""Where refusals are written: of one process, so one at most."""


class SecurityEvent(NamedTuple):
    """One event. `actor` is the client that asked, where it decided the matter; `reason` is what it
    or the refusal says."""

    event: Event
    user_id: str
    device_id: str | None = None
    reason: str | None = None
    actor: str | None = None


def write_refusals(events: SecurityEvents | None) -> None:
    """From now on, refusals are rows of `events`; of none where that is None."""
    _written[:] = [] if events is None else [events]


def record(event: SecurityEvent) -> None:
    """Count and log `event`, once what it tells of is committed; write it, if it is a refusal."""
    if event.event in REFUSALS:
        _write(event)
    EVENTS.labels(event.event.value).inc()
    # The user is left out: logs carry no personal fields.
    log.info(
        "security event",
        security_event=event.event.value,
        device=event.device_id,
        reason=event.reason,
        actor=event.actor,
    )


def _write(event: SecurityEvent) -> None:
    acting = ACTING.get()
    client, method = (event.actor, None) if acting is None else (acting.client, acting.method)
    kind = Kind(event.event, client, method, event.reason or "", event.user_id, event.device_id)
    for events in _written:
        if acting is None:
            events.note(kind)
        else:
            events.note(kind, acting.ip_address or None, acting.request_id)

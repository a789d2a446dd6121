"""Security events: the one place through which each of them goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import structlog

from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.security_events import Kind, SecurityEvents
from signing_service.acting import ACTING
from signing_service.event_kinds import Event
from signing_service.metrics import EVENTS

log = structlog.get_logger()


BY_PROCESS = frozenset(
    {Event.PIN_REFUSED, Event.DEVICE_REFUSED, Event.PROOF_REFUSED, Event.KEY_MISSING}
)
"""Those that change no table: of all others the tables themselves write a row, with the change."""

REFUSED: Mapping[Reason, Event] = {
    Reason.PIN_TOO_WEAK: Event.PIN_REFUSED,
    Reason.PIN_ALREADY_ENROLLED: Event.PIN_REFUSED,
    Reason.PIN_LOCKED: Event.PIN_REFUSED,
    Reason.AUTHORIZATION_INVALID: Event.PROOF_REFUSED,
    Reason.AUTHORIZATION_EXPIRED: Event.PROOF_REFUSED,
    Reason.TOO_MANY_DEVICES: Event.DEVICE_REFUSED,
    Reason.DEVICE_NOT_FOUND: Event.DEVICE_REFUSED,
}
"""Refusals of what concerns a user. PIN_INCORRECT is not among them: its attempt's row tells."""

_written: list[SecurityEvents] = []
"""Where what the tables do not write is written: of one process, so one at most."""


class SecurityEvent(NamedTuple):
    """One event. `actor` is the client that asked, where it decided the matter; `reason` is what it
    or the refusal says; `user_id` is None of what concerns no user."""

    event: Event
    user_id: str | None
    device_id: str | None = None
    reason: str | None = None
    actor: str | None = None


class DeviceRefusedError(PaycoreError):
    """A device's signature that does not hold: the caller hears of one cause for all."""

    def __init__(self, device_id: str, cause: str) -> None:
        super().__init__(
            Reason.AUTHORIZATION_INVALID,
            "the proof is not valid",
            {"why": "the device's signature is not valid"},
        )
        self.device_id = device_id
        self.cause = cause


@contextmanager
def telling(user_id: str, actor: str, device_id: str | None = None) -> Iterator[None]:
    """What `actor` asks of `user_id` in here, and is refused, is an event."""
    try:
        yield
    except DeviceRefusedError as error:
        record(SecurityEvent(Event.DEVICE_REFUSED, user_id, error.device_id, error.cause, actor))
        raise
    except PaycoreError as error:
        event = REFUSED.get(error.reason)
        if event is not None:
            why = ": ".join(filter(None, (error.reason.value, error.metadata.get("why"))))
            record(SecurityEvent(event, user_id, device_id, why, actor))
        raise


def write_refusals(events: SecurityEvents | None) -> None:
    """From now on, what the tables do not write is rows of `events`; of none where that is None."""
    _written[:] = [] if events is None else [events]


def record(event: SecurityEvent) -> None:
    """Count and log `event`, once what it tells of is committed; write it, if no table does."""
    if event.event in BY_PROCESS:
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
    client, method = (
        (event.actor, None) if acting is None else (acting.client, acting.method or None)
    )
    kind = Kind(
        event.event, client, method or None, event.reason or "", event.user_id, event.device_id
    )
    for events in _written:
        if acting is None:
            events.note(kind)
        else:
            events.note(kind, acting.ip_address or None, acting.request_id)

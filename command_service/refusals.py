"""Security events of refusals that end no call: of the items of a call, and by the plan."""

from __future__ import annotations

from typing import Any

from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.security_events import Event, Kind, SecurityEvents, actor_of, reason_of

BY_PLAN = frozenset({Reason.AUTHORIZATION_INVALID, Reason.AUTHORIZATION_EXPIRED})
"""What the plan says of an authorization that admission took for good, with the payer's account."""


class Refusals:
    """Tells of what the gate does not see."""

    def __init__(self, events: SecurityEvents) -> None:
        self._events = events

    def of_item(self, method: str, client: str, error: PaycoreError, item: Any = None) -> None:
        """One of the items of a call was refused; `item` is its message, where that is known."""
        self._events.refused(error, client, method, actor=actor_of(item))
        if "account" in error.metadata:
            self.by_plan(method, client, error)

    def by_plan(self, method: str, client: str, error: PaycoreError) -> None:
        """What was admitted was refused by the plan."""
        if error.reason in BY_PLAN:
            account = error.metadata.get("account", "")
            reason = f"{reason_of(error)}: account {account}"
            self._events.note(Kind(Event.STEP_UP_REFUSED, client, method, reason))

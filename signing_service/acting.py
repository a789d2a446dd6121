"""For whom a call acts: the tables write it into the security events of its transactions."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple

from paycore.runtime.security_events import address_of
from paycore.runtime.server import Call


class Acting(NamedTuple):
    """A caller, what it called and why; empty texts stand for what is not known."""

    client: str
    method: str
    ip_address: str
    request_id: str
    reason: str


ACTING: ContextVar[Acting | None] = ContextVar("acting", default=None)
"""Of the call that runs, and of what it starts."""


def begin(call: Call, method: str, reason: str = "") -> None:
    """From now on, in this call: `method` is the RPC's name, `reason` what the caller gave."""
    ACTING.set(of(call, method, reason))


def of(call: Call, method: str, reason: str = "") -> Acting:
    """Who calls, as in `begin`."""
    address = address_of(call.context.peer()) or ""
    return Acting(call.client, method, address, call.request_id, reason)

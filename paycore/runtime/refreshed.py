"""A value of the database kept in memory: read again every few seconds, not trusted when old."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

import structlog

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.grants import Grant, GrantAction, Grants, GrantScope
from paycore.runtime.clock import Clock

REFRESH_EVERY_S = 2.0
"""How long a change may take to hold everywhere while PostgreSQL answers, in seconds."""

MAX_AGE_S = 60.0
"""Age beyond which a value is no longer trusted, in seconds: it may have changed meanwhile."""

_ACTIONS = {action.value: action for action in GrantAction}
_SCOPES = {scope.value: scope for scope in GrantScope}

T = TypeVar("T")

log = structlog.get_logger()


class Refreshed(ABC, Generic[T]):
    """Fails closed: there is no value before the first read, nor when the last is too long ago."""

    def __init__(self, name: str, clock: Clock) -> None:
        """`name` is what logs and errors call the value."""
        self._name = name
        self._clock = clock
        self._value: T | None = None
        self._asked_s = 0.0
        self.loaded = asyncio.Event()
        """Set once the value has been read for the first time."""

    @abstractmethod
    async def _read(self) -> T:
        """Ask the database for the value."""

    def age_s(self) -> float | None:
        """Seconds since the value was asked for; None before the first read."""
        return None if self._value is None else self._clock.monotonic_s() - self._asked_s

    def current(self) -> T:
        """The value. Raises PaycoreError DATABASE_UNAVAILABLE when it is absent or too old."""
        if self._value is None or self._clock.monotonic_s() - self._asked_s > MAX_AGE_S:
            raise PaycoreError(
                Reason.DATABASE_UNAVAILABLE, f"{self._name} cannot be read", retry_after_ms=1_000
            )
        return self._value

    def last(self) -> T | None:
        """The last value, however old; None before the first read.

        For what does less harm when it is old than when it is missing.
        """
        return self._value

    async def load(self) -> None:
        """Read once. Raises what asyncpg raises."""
        asked_s = self._clock.monotonic_s()
        value = await self._read()
        if self._value is None or asked_s >= self._asked_s:
            # Not where a read that began later was quicker: what it found is newer.
            self._value = value
            self._asked_s = asked_s
        self.loaded.set()

    async def refresh(self) -> bool:
        """Read once; returns whether there is a fresh value.

        Whatever goes wrong, the next refresh may succeed; until then age decides.
        """
        try:
            await self.load()
        except Exception as error:
            log.warning(
                "not refreshed", what=self._name, error=type(error).__name__, age_s=self.age_s()
            )
            return False
        return True

    async def run(self) -> None:
        """Read again and again."""
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_EVERY_S)


def grants_of(rows: Iterable[Mapping[str, Any]]) -> Grants:
    """The grants in rows of ledger.grants.

    A process of an earlier release leaves out what it does not know: that grants nothing to it.
    """
    return Grants.of(
        Grant(row["client"], _ACTIONS[row["action"]], _SCOPES[row["scope"]], row["institution"])
        for row in rows
        if row["action"] in _ACTIONS and row["scope"] in _SCOPES
    )

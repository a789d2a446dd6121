"""What becomes of attempts at a PIN, and what a correct one earns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import NamedTuple

import asyncpg

from paycore.domain.step_up import Authorization
from signing_service.pins import PinRecord

Write = Callable[[asyncpg.Connection], Awaitable[None]]
"""Writes what a correct PIN earns, in the transaction that records its verdict."""


class Approval:
    """An authorization that a correct PIN earns. What is given out is what is `recorded`: where its
    digest has one already it was `signed` for nothing."""

    def __init__(self, signed: Authorization) -> None:
        self.signed = signed
        self.recorded: Authorization | None = None


Earn = Write | Approval


class Verdict(StrEnum):
    """What became of an attempt; all but CORRECT are failures."""

    CORRECT = "CORRECT"
    INCORRECT = "INCORRECT"
    ABANDONED = "ABANDONED"
    """The process that checked it did not live to say."""


class Reserved(NamedTuple):
    """One attempt is taken and committed; its PIN may be checked against `record`, once.

    `pin_proof` tells one PIN of a user from the next; a PIN hashed again keeps it.
    """

    attempt_id: int
    record: PinRecord | None
    pin_proof: bytes | None


class Decided(NamedTuple):
    """The proof was evaluated, now or earlier; figures as they were then."""

    verdict: Verdict
    attempts_left: int
    locked_until_us: int


class Locked(NamedTuple):
    """No attempt is allowed before this time, in microseconds since 1970."""

    until_us: int


class MustWait(NamedTuple):
    """Attempts without a verdict stand before this one, or this one has no verdict yet."""


Reservation = Reserved | Decided | Locked | MustWait

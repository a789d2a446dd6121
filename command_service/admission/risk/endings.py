"""From the outcome of a command to what it tells about the payments in it."""

from __future__ import annotations

from command_service.admission.risk.port import Ending
from paycore.domain.errors import Reason
from paycore.domain.transfers import (
    Command,
    Declined,
    GroupCommand,
    GroupPosted,
    Outcome,
    Posted,
    Refused,
    TransferCommand,
)

IN_DOUBT = frozenset({Reason.DATABASE_UNAVAILABLE, Reason.INTERNAL})
"""Refusals after which a payment may yet turn out to be stored."""


def ending_of(outcome: Outcome) -> Ending:
    """What is known once a command has been answered with `outcome`."""
    match outcome:
        case Posted() | GroupPosted() | Declined():
            return Ending.STORED
        case Refused(error):
            return Ending.UNKNOWN if error.reason in IN_DOUBT else Ending.NOTHING_STORED


def tickets_of(command: Command) -> frozenset[int]:
    """Those with which the payments of `command` were let through."""
    match command:
        case TransferCommand():
            items: tuple[TransferCommand, ...] = (command,)
        case GroupCommand():
            items = command.items
        case _:
            return frozenset()
    return frozenset(
        item.risk.ticket for item in items if item.risk is not None and item.risk.ticket is not None
    )

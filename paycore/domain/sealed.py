"""Personal data as it is stored: sealed under the keys of the subjects that it is about."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class SubjectKey(NamedTuple):
    """A subject's key: 32 bytes that are never printed, and the id by which rows name it."""

    id: int
    secret: bytes

    def __repr__(self) -> str:
        return f"SubjectKey({self.id}, ***)"


class SealedDetails(NamedTuple):
    """A row of personal data that opens only with every one of its keys."""

    row_id: int
    """The transfer or decline whose details they are."""
    key_ids: tuple[int, ...]
    """The key of the account's owner, then the actor's where that is somebody else."""
    sealed: bytes


class Unreadable(StrEnum):
    """Why personal data that there was is not shown."""

    ERASED = "ERASED"
    """For good: a subject that it was about has been erased."""
    UNAVAILABLE = "UNAVAILABLE"
    """For now: a key cannot be had."""

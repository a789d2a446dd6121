"""The data keys of subjects: made, unwrapped and destroyed.

Only here does a data key stand beside its wrapped form, and the wrapped form never leaves: what a
backup of another store holds cannot be unwrapped once the key is destroyed.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import structlog

from paycore.domain.errors import PaycoreError, Reason
from signing_service.data_key_store import DataKeyStore, NewKey, StoredKey
from signing_service.keystore.port import Keystore, KeystoreError, WrappedKey
from signing_service.metrics import DATA_KEYS

SECRET_BYTES = 32
"""AES-256."""

ATTEMPTS = 8
"""How often a key is made where others made one first, and destroyed it before it was read."""

log = structlog.get_logger()


class KeyState(StrEnum):
    """Whether a key can be had."""

    IN_FORCE = "IN_FORCE"
    DESTROYED = "DESTROYED"
    UNKNOWN = "UNKNOWN"


class DataKey(NamedTuple):
    """A key by its id; `secret` is empty unless it is in force."""

    key_id: int
    state: KeyState
    secret: bytes = b""

    def __repr__(self) -> str:
        return f"DataKey({self.key_id}, {self.state})"


class DataKeys:
    """Keeps one key in force for each subject that needs one."""

    def __init__(self, store: DataKeyStore, keystore: Keystore) -> None:
        self._store = store
        self._keystore = keystore

    async def create(self, subjects: Sequence[str]) -> list[DataKey]:
        """The key in force of each of `subjects`, made where there is none.

        Raises PaycoreError DATABASE_UNAVAILABLE or CONTENTION.
        """
        found = await self._store.find_in_force(subjects)
        attempts = 0
        while lacking := [subject for subject in subjects if subject not in found]:
            if attempts == ATTEMPTS:
                raise PaycoreError(Reason.CONTENTION, "a key is destroyed as often as it is made")
            attempts += 1
            made = await self._store.add([self._new(subject) for subject in lacking])
            DATA_KEYS.labels("made").inc(len(made))
            found |= made
            # Of those who make one at once, one prevails, and all give out its key; unless it is
            # destroyed before they have read it.
            others = [subject for subject in lacking if subject not in made]
            if others:
                found |= await self._store.find_in_force(others)
        return [self._unwrapped(found[subject]) for subject in subjects]

    async def unwrap(self, key_ids: Sequence[int]) -> list[DataKey]:
        """The keys with these ids, in order. Raises as `create`."""
        found, destroyed = await self._store.find(key_ids)
        keys = []
        for key_id in key_ids:
            if key_id in found:
                keys.append(self._unwrapped(found[key_id]))
            elif key_id in destroyed:
                keys.append(DataKey(key_id, KeyState.DESTROYED))
            else:
                keys.append(DataKey(key_id, KeyState.UNKNOWN))
        return keys

    async def destroy(self, subject: str) -> list[int]:
        """Destroy the keys of `subject`, and what it approves payments with; the ids of all data
        keys that it ever had. Raises as `create`."""
        destroyed = await self._store.destroy(subject)
        DATA_KEYS.labels("destroyed").inc(destroyed.now)
        log.info("data keys destroyed", count=destroyed.now)
        return destroyed.ids

    def _new(self, subject: str) -> NewKey:
        # Not from a sequence: a restored database would give out again what others still name.
        key_id = secrets.randbits(62) + 1
        wrapped = self._keystore.wrap(secrets.token_bytes(SECRET_BYTES), _binding(key_id, subject))
        return NewKey(key_id, subject, wrapped.wrapping_key_id, wrapped.wrapped)

    def _unwrapped(self, row: StoredKey) -> DataKey:
        wrapped = WrappedKey(row.wrapping_key_id, row.wrapped)
        try:
            secret = self._keystore.unwrap(wrapped, _binding(row.key_id, row.subject))
        except KeystoreError as error:
            log.error("a data key does not unwrap", key_id=row.key_id, why=str(error))
            return DataKey(row.key_id, KeyState.UNKNOWN)
        return DataKey(row.key_id, KeyState.IN_FORCE, secret)


def _binding(key_id: int, subject: str) -> bytes:
    """Ties a wrapped key to its row: one that is moved to another does not unwrap."""
    return b"paycore/data-key/1\x1f%d\x1f%s" % (key_id, subject.encode())

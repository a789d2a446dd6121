"""Which key of each purpose is in use, by the clock.

A new key is published before it is used: all processes learn of it while the old one is still in
use, and then change over at one moment, without being told.
"""

from __future__ import annotations

from collections.abc import Iterable

from signing_service.keystore.port import KeyEntry, KeyPurpose, KeystoreError


class Schedule:
    """Keys by the time from which they are in use."""

    def __init__(self, keys: Iterable[tuple[str, KeyPurpose, int]]) -> None:
        """`keys` are ids with purposes and times, in microseconds since 1970; of two with one time
        the later given is in use. Raises KeystoreError where a purpose has no key."""
        self._keys = sorted(keys, key=lambda key: key[2])
        for purpose in KeyPurpose:
            if not any(known is purpose for _, known, _ in self._keys):
                raise KeystoreError(f"no key of purpose {purpose}")

    def current(self, purpose: KeyPurpose, now_us: int) -> str:
        """The id of the key in use; the first one where none is due yet, as by a clock that is
        behind."""
        of_purpose = [
            (key_id, from_us) for key_id, known, from_us in self._keys if known is purpose
        ]
        due = [key_id for key_id, from_us in of_purpose if from_us <= now_us]
        return due[-1] if due else of_purpose[0][0]

    def inventory(self, now_us: int) -> tuple[KeyEntry, ...]:
        """All keys in their order."""
        return tuple(
            KeyEntry(key_id, purpose, from_us, key_id == self.current(purpose, now_us))
            for key_id, purpose, from_us in self._keys
        )

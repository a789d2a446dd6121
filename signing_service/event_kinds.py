"""What security events of the signing service tell of."""

from __future__ import annotations

from enum import StrEnum


class Event(StrEnum):
    """What happened to a user's PIN or devices, or to the service's own keys."""

    PIN_ENROLLED = "PIN_ENROLLED"
    PIN_CHANGED = "PIN_CHANGED"
    PIN_RESET = "PIN_RESET"
    PIN_UNLOCKED = "PIN_UNLOCKED"
    PIN_INCORRECT = "PIN_INCORRECT"
    PIN_LOCKED = "PIN_LOCKED"
    PIN_REMOVED = "PIN_REMOVED"
    """With the erasure of its user, or by hand."""
    PIN_REFUSED = "PIN_REFUSED"
    """Not set: too weak, or one is in force. Not looked at: it is locked."""
    DEVICE_ENROLLED = "DEVICE_ENROLLED"
    DEVICE_VOUCHED_FOR = "DEVICE_VOUCHED_FOR"
    DEVICE_REVOKED = "DEVICE_REVOKED"
    DEVICE_REFUSED = "DEVICE_REFUSED"
    """A signature that is not that of a device of the user which is in force; or a device not
    enrolled, or not revoked."""
    PROOF_REFUSED = "PROOF_REFUSED"
    """What does not open, is too old, was used or is for something else: no PIN was looked at."""
    KEY_ADDED = "KEY_ADDED"
    """A key came into the keystore."""
    KEY_ROTATED = "KEY_ROTATED"
    """A key came into use for what is new."""
    KEY_MISSING = "KEY_MISSING"
    """A key that was there is not: what was made with it cannot be opened."""

"""Accounts as they are named on the command line: `7041`, or `stripe:cus_42`."""

from __future__ import annotations

from operations.errors import UsageError
from paycore.client import AccountName, ExternalIdentifier


def account_name(text: str) -> AccountName:
    """An id, or an external identifier. Raises UsageError."""
    return int(text) if text.isascii() and text.isdigit() else identifier(text)


def identifier(text: str) -> ExternalIdentifier:
    """`scheme:value`. Raises UsageError where there is no scheme or no value."""
    scheme, _, value = text.partition(":")
    if not scheme or not value:
        raise UsageError(f"{text!r} is neither the id of an account nor scheme:value")
    return ExternalIdentifier(scheme, value)


def metadata(pairs: list[str] | None) -> dict[str, str]:
    """What `name=value` options say. Raises UsageError for one without a name."""
    told: dict[str, str] = {}
    for pair in pairs or ():
        name, separator, value = pair.partition("=")
        if not name or not separator:
            raise UsageError(f"{pair!r} is not name=value")
        told[name] = value
    return told

"""Names that the world outside has for accounts."""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_SCHEME = 32
MAX_VALUE = 128

_SCHEME = re.compile(rf"[a-z0-9_-]{{1,{MAX_SCHEME}}}", re.ASCII)


class ExternalIdentifier(NamedTuple):
    """Such as (`stripe`, `cus_42`): belongs to one account for ever, which has one per scheme."""

    scheme: str
    value: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.value}"


def is_scheme(text: str) -> bool:
    """1-32 characters of a-z, 0-9, `_` and `-`."""
    return _SCHEME.fullmatch(text) is not None


def is_value(text: str) -> bool:
    """1-128 printable characters."""
    return 0 < len(text) <= MAX_VALUE and text.isprintable()

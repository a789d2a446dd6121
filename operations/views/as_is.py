"""Text that others wrote, as it is: neither markup nor control of the terminal."""

from __future__ import annotations

from rich.markup import escape
from rich.text import Text

UNPRINTABLE = "�"


def printable(text: str) -> str:
    """`text` with a mark in the place of whatever a terminal would obey, or could hide."""
    return "".join(mark if mark.isprintable() else UNPRINTABLE for mark in text)


def as_is(text: str, style: str = "") -> Text:
    """A cell or a line of `text`."""
    return Text(printable(text), style=style)


def in_markup(text: str) -> str:
    """`text` as a part of a line that has markup of its own."""
    return escape(printable(text))

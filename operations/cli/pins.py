"""How a PIN gets in: typed unseen, or read from a file; never an argument, which others can see."""

from __future__ import annotations

from typing import TextIO

import typer

from operations.errors import UsageError
from paycore.client import Pin

MAX_LINE = 64


def read_pin(file: TextIO | None, *, confirm: bool = False) -> Pin:
    """The PIN in the first line of `file`, or typed by the user, twice if to be confirmed.

    Raises UsageError when it is not one.
    """
    if file is not None:
        digits = file.readline(MAX_LINE).strip()
    else:
        digits = typer.prompt("PIN", hide_input=True, confirmation_prompt=confirm)
    try:
        return Pin(digits)
    except ValueError as error:
        raise UsageError(str(error)) from None

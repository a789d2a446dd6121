"""Addresses of end users, as callers name them."""

from __future__ import annotations

import socket


def packed(address: str) -> bytes | None:
    """The 4 or 16 bytes of an IPv4 or IPv6 address; None for whatever else.

    One parser decides what is taken and what is limited. No zone of an interface (`%eth0`): it
    could be any text of any length, and says nothing away from its machine.
    """
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    except (OSError, ValueError):
        return None

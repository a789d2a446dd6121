"""Free loopback ports, claimed for as long as the stack lives.

A port that merely was free a moment ago may be taken before the part binds it, or while the
part is being restarted. So ports come from below the range the kernel hands to outgoing
connections, and each is claimed by an abstract Unix socket, which two stacks on one machine
cannot both hold and which the kernel releases when its holder dies.
"""

import random
import socket
from collections.abc import Sequence
from contextlib import suppress

from deploy.local.errors import NoFreePortError

LOOPBACK = "127.0.0.1"
LOWEST_PORT = 15_000
HIGHEST_PORT = 32_000
MAX_TRIES = 500


class PortClaims:
    """The ports of one stack. Not thread-safe: claim before the parts start."""

    def __init__(self, chooser: random.Random | None = None) -> None:
        # Unpredictability keeps two stacks apart; nothing secret hangs on it.
        self._chooser = chooser or random.SystemRandom()
        self._sockets: list[socket.socket] = []

    def claim(self, count: int = 1, preferred: Sequence[int] = ()) -> tuple[int, ...]:
        """Claim `count` consecutive ports, the `preferred` ones if they are free.

        Raises NoFreePortError after a bounded number of tries.
        """
        if len(preferred) == count and self._take(preferred):
            return tuple(preferred)
        for _ in range(MAX_TRIES):
            first = self._chooser.randrange(LOWEST_PORT, HIGHEST_PORT - count)
            ports = range(first, first + count)
            if self._take(ports):
                return tuple(ports)
        raise NoFreePortError(
            f"no {count} free consecutive ports on {LOOPBACK} between {LOWEST_PORT} and"
            f" {HIGHEST_PORT} after {MAX_TRIES} tries"
        )

    def release(self) -> None:
        """Give every port back."""
        for held in self._sockets:
            held.close()
        self._sockets.clear()

    def _take(self, ports: Sequence[int]) -> bool:
        taken: list[socket.socket] = []
        for port in ports:
            held = _hold(port)
            if held is not None and not _is_free(port):
                held.close()
                held = None
            if held is None:
                for other in taken:
                    other.close()
                return False
            taken.append(held)
        self._sockets.extend(taken)
        return True


def _hold(port: int) -> socket.socket | None:
    held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with suppress(OSError):
        held.bind(f"\0paycore-port-{port}")
        return held
    held.close()
    return None


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Connections of an earlier run may linger in TIME_WAIT; every part binds over them.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            probe.bind((LOOPBACK, port))
            return True
    return False

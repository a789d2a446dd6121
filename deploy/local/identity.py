"""Which process is meant: its id together with its start, since ids are used again.

Linux only, as the wheels of the stores are: the start is read from /proc in clock ticks since
boot, which no change of the wall clock moves. A process that has ended but was not yet waited
for by its parent counts as gone: nothing says that whoever inherits orphans reaps them soon.
"""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
WAIT_INTERVAL_S = 0.02

# Positions after the command name in /proc/PID/stat, proc(5).
STATE_FIELD = 0
PARENT_FIELD = 1
SESSION_FIELD = 3
START_FIELD = 19
DEAD_STATES = "ZX"


class ProcessIdentity(BaseModel):
    """One process of one boot of this machine."""

    model_config = ConfigDict(frozen=True)

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity | None":
        """Return the identity of a living process, or None where there is none."""
        row = _row(pid)
        return row.identity() if row is not None else None

    @classmethod
    def own(cls) -> "ProcessIdentity":
        identity = cls.of(os.getpid())
        assert identity is not None
        return identity

    def is_alive(self) -> bool:
        """Return whether exactly this process still runs."""
        return ProcessIdentity.of(self.pid) == self

    def send(self, number: signal.Signals) -> None:
        """Send a signal to exactly this process; one that has ended is left in peace."""
        with suppress(ProcessLookupError):
            # The descriptor stays with the process that it was opened for, so nothing else
            # can be hit between the check and the signal.
            descriptor = os.pidfd_open(self.pid)
            try:
                if self.is_alive():
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the process table."""

    pid: int
    parent: int
    session: int
    start: str

    def identity(self) -> ProcessIdentity:
        return ProcessIdentity(pid=self.pid, started=f"{_boot()}:{self.start}")


def family(pid: int) -> list[ProcessIdentity]:
    """Return the living descendants of a process and the members of its session, without it.

    The session is looked at too because a descendant whose parent ended is no longer one; the
    descendants because some, like PostgreSQL's backends, open sessions of their own.
    """
    rows = list(_table())
    known = {pid}
    grown = True
    while grown:
        found = {row.pid for row in rows if row.parent in known or row.session == pid}
        grown = not found <= known
        known |= found
    return [row.identity() for row in rows if row.pid in known and row.pid != pid]


def all_processes() -> list[ProcessIdentity]:
    """Return every living process of this machine."""
    return [row.identity() for row in _table()]


def wait_gone(processes: Iterable[ProcessIdentity], timeout_s: float) -> list[ProcessIdentity]:
    """Wait until all have ended, at most `timeout_s`; return those still alive."""
    deadline = time.monotonic() + timeout_s
    alive = [process for process in processes if process.is_alive()]
    while alive and time.monotonic() < deadline:
        time.sleep(WAIT_INTERVAL_S)
        alive = [process for process in alive if process.is_alive()]
    return alive


def _table() -> Iterator[_Row]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            row = _row(int(entry))
            if row is not None:
                yield row


def _row(pid: int) -> _Row | None:
    try:
        content = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name is in parentheses and may itself hold blanks and parentheses.
    fields = content[content.rindex(")") + 2 :].split()
    if fields[STATE_FIELD] in DEAD_STATES:
        return None
    return _Row(pid, int(fields[PARENT_FIELD]), int(fields[SESSION_FIELD]), fields[START_FIELD])


def _boot() -> str:
    return BOOT_ID.read_text().strip()

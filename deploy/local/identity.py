"""Which process is meant: its id together with its start, since ids are used again.

Linux only, as the wheels of the stores are: the start is read from /proc in clock ticks since
boot, which no change of the wall clock moves.
"""

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

# Positions after the command name in /proc/PID/stat, proc(5).
STATE_FIELD = 0
SESSION_FIELD = 3
START_FIELD = 19


class ProcessIdentity(BaseModel):
    """One process of one boot of this machine."""

    model_config = ConfigDict(frozen=True)

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity | None":
        """Return the identity of a living process, or None where there is none."""
        fields = _stat(pid)
        if fields is None or fields[STATE_FIELD] in "ZX":
            return None
        return cls(pid=pid, started=f"{BOOT_ID.read_text().strip()}:{fields[START_FIELD]}")

    @classmethod
    def own(cls) -> "ProcessIdentity":
        identity = cls.of(os.getpid())
        assert identity is not None
        return identity

    def is_alive(self) -> bool:
        """Return whether exactly this process still runs; a zombie does not."""
        return ProcessIdentity.of(self.pid) == self


def session_members(session: int) -> list[int]:
    """Return the ids of all living processes of a session, its leader included."""
    members = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat(int(entry))
            alive = fields is not None and fields[STATE_FIELD] not in "ZX"
            if fields is not None and alive and int(fields[SESSION_FIELD]) == session:
                members.append(int(entry))
    return members


def _stat(pid: int) -> list[str] | None:
    try:
        content = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name is in parentheses and may itself hold blanks and parentheses.
    return content[content.rindex(")") + 2 :].split()

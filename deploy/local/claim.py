"""One supervisor a state folder: claiming it, and ending what a killed one left behind."""

import fcntl
import os
import signal
from collections.abc import Callable

from deploy.local.errors import StateInUseError
from deploy.local.identity import ProcessIdentity
from deploy.local.process import stop_leftover
from deploy.local.record import Phase, StackFile, StackRecord, read_record
from deploy.local.state import StateFolder

LEFTOVER_GRACE_S = 15.0

# PostgreSQL's fast shutdown; the others end in order on SIGTERM.
STOP_SIGNALS = {"postgres": signal.SIGINT, "replica": signal.SIGINT}


def claim(state: StateFolder, warn: Callable[[str], None]) -> StackFile:
    """Make this process the folder's supervisor.

    Parts still running are stopped only when the recorded supervisor, by id and start, is
    dead. Raises StateInUseError where it lives.
    """
    state.create()
    # Held for the moment of looking and writing only: the record itself is the claim.
    lock = os.open(state.root / "claim.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        earlier = read_record(state.stack_file)
        if earlier.supervisor is not None and earlier.supervisor.is_alive():
            raise StateInUseError(state.root, earlier.supervisor.pid)
        file = StackFile(state.stack_file, earlier)
        file.update(
            lambda record: record.model_copy(
                update={
                    "phase": Phase.STARTING,
                    "failure": None,
                    "supervisor": ProcessIdentity.own(),
                }
            )
        )
    finally:
        os.close(lock)
    _stop_leftovers(earlier, warn)
    return file


def _stop_leftovers(earlier: StackRecord, warn: Callable[[str], None]) -> None:
    for name, part in earlier.parts.items():
        if part.process is None:
            continue
        stop_signal = STOP_SIGNALS.get(name, signal.SIGTERM)
        if stop_leftover(part.process, stop_signal, LEFTOVER_GRACE_S):
            warn(f"stopped {name} (process {part.process.pid}), left by a supervisor that died")

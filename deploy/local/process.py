"""One process of a part: started in a session of its own, ended by id, never by name."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import BufferedWriter
from pathlib import Path

from deploy.local.identity import ProcessIdentity, family, wait_gone
from deploy.local.privileges import RunAs, capability_needed

LAUNCHER = Path(__file__).with_name("launch.py")
KILL_WAIT_S = 10.0
HELPERS_WAIT_S = 2.0
# A log is looked at when its process starts, and keeps one predecessor.
LOG_BYTES_BEFORE_ROTATION = 16 * 1024 * 1024

# What a part inherits of the supervisor's environment: nothing else leaks into it.
INHERITED_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH")


@dataclass(frozen=True, slots=True)
class Launch:
    """How a process is started."""

    argv: Sequence[str]
    cwd: Path
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    user: RunAs | None = None
    reaches: Sequence[Path] = ()
    """What `user` must be able to reach: its program, its data."""
    standard_input: bytes | None = field(default=None, repr=False)
    """A few bytes at most: it is written before anything reads it."""
    stop_signal: signal.Signals = signal.SIGTERM
    """Asks for an orderly end; sent as well when the supervisor dies."""
    niceness: int = 0
    """How far it steps back for other parts when the cores are busy: 0, or up to 19."""


class ManagedProcess:
    """A child in its own session whose end follows the supervisor's.

    Create it on a thread that outlives it: the kernel ties a child to the thread that made it.
    """

    def __init__(self, launch: Launch, log: Path) -> None:
        self._stop_signal = launch.stop_signal
        order = {
            "argv": list(launch.argv),
            "cwd": str(launch.cwd),
            "death_signal": int(launch.stop_signal),
            "parent": os.getpid(),
            "uid": launch.user.uid if launch.user else None,
            "gid": launch.user.gid if launch.user else None,
            "niceness": launch.niceness,
            "capability": capability_needed(launch.user, launch.reaches) if launch.user else None,
        }
        with _open_log(log) as output:
            self._child = subprocess.Popen(  # noqa: S603 - argv of our own making, no shell
                [sys.executable, "-I", "-S", str(LAUNCHER), json.dumps(order)],
                stdin=subprocess.DEVNULL if launch.standard_input is None else subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=child_environment(launch.environment),
                start_new_session=True,
            )
        if self._child.stdin is not None:
            with self._child.stdin:
                self._child.stdin.write(launch.standard_input or b"")
        # Signals through a descriptor cannot hit another process that got the same id.
        self._descriptor = os.pidfd_open(self._child.pid)
        identity = ProcessIdentity.of(self._child.pid)
        self.identity = identity or ProcessIdentity(pid=self._child.pid, started="ended at once")

    @property
    def pid(self) -> int:
        return self._child.pid

    def wait(self, timeout_s: float | None = None, wake: int | None = None) -> int | None:
        """Return the exit code, negative for a signal.

        None when the time runs out first, or when the descriptor `wake` becomes readable.
        """
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        if wake is not None:
            poll.register(wake, select.POLLIN)
        ready = poll.poll(None if timeout_s is None else timeout_s * 1000)
        if all(descriptor != self._descriptor for descriptor, _ in ready):
            return None
        # It stays in the process table until `close`, so its id means nobody else till then.
        ended = os.waitid(os.P_PIDFD, self._descriptor, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process itself; one that has ended is left in peace."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)

    def pids(self) -> tuple[int, ...]:
        """Return its id and, after it, those of everything under it."""
        return (self.pid, *(process.pid for process in family(self.pid)))

    def stop(self, grace_s: float) -> None:
        """Ask it to end, and kill it and what it started after `grace_s`."""
        helpers = family(self.pid)
        self.signal(self._stop_signal)
        if self.wait(grace_s) is None:
            self.signal(signal.SIGKILL)
            self.wait()
        # Helpers of a process that ended in order follow by themselves; give them a moment.
        kill_all(wait_gone(helpers, HELPERS_WAIT_S))
        self.sweep()

    def kill(self) -> None:
        """End it and everything under it with SIGKILL."""
        helpers = self.strike()
        self.wait()
        kill_all(helpers)
        self.sweep()

    def strike(self) -> list[ProcessIdentity]:
        """Send SIGKILL to it and everything under it, without waiting for the end."""
        helpers = family(self.pid)
        self.signal(signal.SIGKILL)
        for helper in helpers:
            helper.send(signal.SIGKILL)
        return helpers

    def sweep(self) -> None:
        """Kill what an ended process left running in its session."""
        kill_all(family(self.pid))

    def close(self) -> None:
        """Let the kernel forget the process, which must have ended."""
        self._child.wait()
        os.close(self._descriptor)


def stop_leftover(leftover: ProcessIdentity, stop_signal: signal.Signals, grace_s: float) -> bool:
    """End a process of an earlier supervisor and its session; return whether any was there.

    A process that merely got the same id later is not touched: the start must match too. The
    rest of the session is found even when its leader is gone, because the kernel gives no new
    process the id of a session that still has members.
    """
    if leftover.is_alive():
        helpers = family(leftover.pid)
        leftover.send(stop_signal)
        # One that was suspended must run to see the signal.
        leftover.send(signal.SIGCONT)
        kill_all(wait_gone([leftover], grace_s))
        kill_all(wait_gone(helpers, HELPERS_WAIT_S))
        return True
    if ProcessIdentity.of(leftover.pid) is not None:
        return False
    orphans = family(leftover.pid)
    for orphan in orphans:
        orphan.send(signal.SIGTERM)
        orphan.send(signal.SIGCONT)
    kill_all(wait_gone(orphans, grace_s))
    return bool(orphans)


def kill_all(processes: Sequence[ProcessIdentity]) -> None:
    """Send SIGKILL and wait, bounded, until all are gone."""
    for process in processes:
        process.send(signal.SIGKILL)
    wait_gone(processes, KILL_WAIT_S)


def run_once(launch: Launch, log: Path, timeout_s: float) -> int | None:
    """Run a helper program to its end; None, and it is killed, when `timeout_s` runs out."""
    process = ManagedProcess(launch, log)
    try:
        code = process.wait(timeout_s)
        if code is None:
            process.kill()
        return code
    finally:
        process.close()


def child_environment(own: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of a child: the few inherited variables and its own."""
    inherited = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
    return {**inherited, **own}


def _open_log(path: Path) -> BufferedWriter:
    with suppress(FileNotFoundError):
        if path.stat().st_size > LOG_BYTES_BEFORE_ROTATION:
            path.replace(path.with_suffix(".log.1"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "ab")

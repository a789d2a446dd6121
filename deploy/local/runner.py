"""Runs one part: starts it, watches it, starts it again when it dies, stops it on request.

One thread per part does all of it. The kernel ties each process to the thread that made it,
so that thread lives exactly as long as the part is wanted.
"""

import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from deploy.local.errors import PartStartError, StackError, StartCancelledError
from deploy.local.events import Observer, PartState
from deploy.local.files import tail
from deploy.local.identity import ProcessIdentity
from deploy.local.part import NotReadyError, Part, Preparation
from deploy.local.process import KILL_WAIT_S, ManagedProcess

PROBE_INTERVAL_S = 0.1
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 10.0
# A part that stayed up this long has recovered: the next death starts at the first backoff.
STEADY_AFTER_S = 30.0

Recorder = Callable[[str, ProcessIdentity | None, PartState, int], None]


class PartRunner:
    """Thread-safe handle on one supervised part."""

    def __init__(self, part: Part, log: Path, observer: Observer, record: Recorder) -> None:
        self._part = part
        self._log = log
        self._observer = observer
        self._record = record
        self._lock = threading.Lock()
        self._operation = threading.Lock()
        self._thread: threading.Thread | None = None
        self._process: ManagedProcess | None = None
        self._wake: int | None = None
        self._killing = False
        self._stopping = threading.Event()
        self._settled = threading.Event()
        self._failure: StackError | None = None
        self._state = PartState.STOPPED
        self._restarts = 0

    @property
    def name(self) -> str:
        return self._part.name

    @property
    def state(self) -> PartState:
        return self._state

    @property
    def restarts(self) -> int:
        """How often it died and was started again without being told to."""
        return self._restarts

    def pids(self) -> tuple[int, ...]:
        """Return its process ids, the main one first; empty while it is down."""
        with self._lock:
            return self._process.pids() if self._process else ()

    def start(self) -> None:
        """Start it and return once it is ready; nothing happens if it runs already.

        Raises PartStartError, or what its preparation raised, StartCancelledError if `stop`
        comes in between.
        """
        with self._operation:
            if self._thread is None or not self._thread.is_alive():
                self._stopping.clear()
                self._settled.clear()
                self._killing = False
                self._failure = None
                self._wake = os.eventfd(0, os.EFD_CLOEXEC)
                self._thread = threading.Thread(
                    target=self._run, args=(self._wake,), name=f"stack-{self.name}", daemon=True
                )
                self._thread.start()
        self._settled.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Stop it in order, killing it after its grace. It is not started again."""
        self._end(killing=False)

    def kill(self) -> None:
        """End it with SIGKILL. It is not started again."""
        self._end(killing=True)

    def crash(self) -> None:
        """End it with SIGKILL as if it had died by itself: supervision starts it again."""
        with self._lock:
            process = self._process
            if process is None:
                return
            died_before = self._restarts
            process.strike()
        deadline = time.monotonic() + KILL_WAIT_S
        # Only when the watching thread has counted the end and said so does `wait_ready` mean the
        # next start.
        while time.monotonic() < deadline:
            if self._restarts > died_before and self._state is not PartState.READY:
                return
            time.sleep(PROBE_INTERVAL_S / 10)

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until it is ready, for instance again after a death; False when time runs out."""
        deadline = time.monotonic() + timeout_s
        while self._state is not PartState.READY:
            if time.monotonic() > deadline:
                return False
            time.sleep(PROBE_INTERVAL_S)
        return True

    def _end(self, *, killing: bool) -> None:
        with self._operation:
            if self._thread is None:
                return
            self._killing = killing
            self._stopping.set()
            with self._lock:
                if self._wake is not None:
                    os.eventfd_write(self._wake, 1)
            self._thread.join()
            self._thread = None

    def _run(self, wake: int) -> None:
        backoff_s = FIRST_BACKOFF_S
        try:
            while not self._stopping.is_set():
                ready_at = self._run_once(wake)
                if self._stopping.is_set() or ready_at is None:
                    break
                if time.monotonic() - ready_at > STEADY_AFTER_S:
                    backoff_s = FIRST_BACKOFF_S
                self._restarts += 1
                self._observer.warning(
                    f"{self.name} died: starting it again in {backoff_s:g} s"
                    f" (restart {self._restarts}, log {self._log})"
                )
                self._change(PartState.RESTARTING, f"restart {self._restarts}")
                self._stopping.wait(backoff_s)
                backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)
        finally:
            with self._lock:
                self._wake = None
            os.close(wake)
            if self._failure is None and not self._settled.is_set():
                self._failure = StartCancelledError(f"{self.name}: the start was cancelled")
            self._change(PartState.STOPPED if self._stopping.is_set() else PartState.FAILED)
            self._settled.set()

    def _run_once(self, wake: int) -> float | None:
        """Run its process until it ends; return when it became ready.

        None means that its very first start failed, which is for `start` to report.
        """
        began = time.monotonic()
        try:
            self._prepare()
            process = self._spawn()
            self._await_ready(process, wake)
        except Exception as error:
            # The thread is the last to see it: whatever it is, `start` must raise it.
            self._discard()
            if self._settled.is_set():
                if not self._stopping.is_set():
                    self._observer.warning(f"{self.name} did not come back: {error}")
                return time.monotonic()
            self._failure = (
                error
                if isinstance(error, StackError)
                else PartStartError(self.name, repr(error), self._log, tail(self._log))
            )
            return None
        ready_at = time.monotonic()
        self._change(PartState.READY, f"after {ready_at - began:.1f} s")
        self._settled.set()
        process.wait(wake=wake)
        self._discard()
        return ready_at

    def _prepare(self) -> None:
        self._change(PartState.PREPARING)
        self._part.prepare(Preparation(partial(self._observer.progress, self.name), self._stopping))

    def _spawn(self) -> ManagedProcess:
        if self._stopping.is_set():
            raise StartCancelledError(f"{self.name}: the start was cancelled")
        process = ManagedProcess(self._part.launch(), self._log)
        with self._lock:
            self._process = process
        self._change(PartState.STARTING)
        return process

    def _await_ready(self, process: ManagedProcess, wake: int) -> None:
        deadline = time.monotonic() + self._part.start_timeout_s
        while True:
            if self._stopping.is_set():
                raise StartCancelledError(f"{self.name}: the start was cancelled")
            try:
                self._part.probe()
                return
            except NotReadyError as error:
                missing = str(error)
            code = process.wait(PROBE_INTERVAL_S, wake)
            if code is not None:
                reason = f"it ended with code {code}"
            elif time.monotonic() > deadline:
                reason = f"not ready after {self._part.start_timeout_s:g} s: {missing}"
            else:
                continue
            raise PartStartError(self.name, reason, self._log, tail(self._log))

    def _discard(self) -> None:
        """End the process if it has not ended by itself, and whatever it left running."""
        process = self._process
        if process is None:
            return
        if process.wait(0) is None:
            if self._killing:
                process.kill()
            else:
                if self._stopping.is_set():
                    self._change(PartState.STOPPING)
                process.stop(self._part.stop_grace_s)
        process.sweep()
        with self._lock:
            self._process = None
        process.close()

    def _change(self, state: PartState, detail: str = "") -> None:
        self._state = state
        identity = self._process.identity if self._process else None
        self._record(self.name, identity, state, self._restarts)
        self._observer.state(self.name, state, detail)

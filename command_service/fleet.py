"""Several worker processes on one port: started, watched, restarted, stopped together."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from types import FrameType

import structlog

from command_service.settings import CommandSettings
from paycore.runtime import logs

RESTART_BACKOFF_S = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Waits before a worker that died is started again; back to the first after it lived a while."""

LIVED_LONG_S = 30.0
CLOSING_S = 4.0
"""What a worker takes at most after it has drained, to give back its connections, in seconds."""

_POLL_S = 0.05

log = structlog.get_logger()


@dataclass(slots=True)
class _Worker:
    number: int
    process: subprocess.Popen[bytes]
    started_s: float
    deaths: int = 0
    restart_at_s: float | None = None


class _Fleet:
    def __init__(self, count: int, grace_s: float) -> None:
        self._grace_s = grace_s
        self._stopping = False
        self._workers = [
            _Worker(number, _spawn(number), time.monotonic()) for number in range(count)
        ]

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def run(self) -> int:
        while not self._stopping:
            for worker in self._workers:
                self._tend(worker)
            time.sleep(_POLL_S)
        return self._stop_all()

    def _tend(self, worker: _Worker) -> None:
        """Start a worker again when it died, loudly and not in a tight loop."""
        now_s = time.monotonic()
        if worker.restart_at_s is not None:
            if now_s >= worker.restart_at_s:
                worker.process, worker.started_s = _spawn(worker.number), now_s
                worker.restart_at_s = None
            return
        code = worker.process.poll()
        if code is None:
            return
        if now_s - worker.started_s > LIVED_LONG_S:
            worker.deaths = 0
        wait_s = RESTART_BACKOFF_S[min(worker.deaths, len(RESTART_BACKOFF_S) - 1)]
        worker.deaths += 1
        worker.restart_at_s = now_s + wait_s
        log.error("worker died", worker=worker.number, code=code, restart_in_s=wait_s)

    def _stop_all(self) -> int:
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.process.terminate()
        give_up_s = time.monotonic() + self._grace_s + CLOSING_S
        code = 0
        for worker in self._workers:
            try:
                code = worker.process.wait(max(0.0, give_up_s - time.monotonic())) or code
            except subprocess.TimeoutExpired:
                log.error("worker did not stop in time: killed", worker=worker.number)
                worker.process.kill()
                worker.process.wait()
                code = 1
        return 0 if code in (0, -signal.SIGTERM) else 1


def _spawn(number: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "command_service", "--worker", str(number)]
    return subprocess.Popen(command)  # noqa: S603  # our own module


def run_fleet(count: int, settings: CommandSettings) -> int:
    """Run `count` workers until SIGTERM or SIGINT; returns the exit code."""
    logs.configure("command-fleet", settings.log_level)
    fleet = _Fleet(count, settings.shutdown_grace_s)
    signal.signal(signal.SIGTERM, fleet.stop)
    signal.signal(signal.SIGINT, fleet.stop)
    return fleet.run()

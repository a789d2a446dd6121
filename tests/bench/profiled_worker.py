"""`python -m tests.bench.profiled_worker FOLDER`: one command worker under cProfile.

Settings as for `python -m command_service`. SIGUSR1 begins a profile; SIGUSR2 ends it and writes
FOLDER/profile.pstats, then FOLDER/profile.json with the processor time of the threads and what the
profiler itself costs.

Times are the thread's processor time: wall time would charge a function for what other processes do
when they take the core from it.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import os
import signal
import time
from pathlib import Path

from command_service import worker
from command_service.settings import CommandSettings
from paycore.runtime import logs, process

STATISTICS = "profile.pstats"
TIMES = "profile.json"

CALIBRATION_CALLS = 20_000
CALIBRATION_ROUNDS = 5


class _Recorder:
    """The profile of the event loop's thread, and how long the process computed meanwhile."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._profile = cProfile.Profile(time.thread_time)
        self._began = (0.0, 0.0, 0.0)
        self._event_s = _cost_of_an_event()

    def begin(self) -> None:
        self._profile = cProfile.Profile(time.thread_time)
        self._began = _now()
        self._profile.enable()

    def end(self) -> None:
        self._profile.disable()
        elapsed, whole, loop = (now - then for now, then in zip(_now(), self._began, strict=True))
        self._profile.dump_stats(self._folder / STATISTICS)
        times = {"elapsed_s": elapsed, "process_s": whole, "loop_s": loop, "event_s": self._event_s}
        # Its appearance says that the profile is complete.
        unfinished = self._folder / f"{TIMES}.unfinished"
        unfinished.write_text(json.dumps(times))
        unfinished.replace(self._folder / TIMES)


def _now() -> tuple[float, float, float]:
    """Wall time, and processor time of the process and of this thread, in seconds."""
    return time.perf_counter(), time.process_time(), time.thread_time()


def _cost_of_an_event() -> float:
    """What the profiler adds to one call of a function, entering and leaving, in seconds."""

    def nothing() -> None:
        pass

    def calls() -> float:
        began = time.thread_time()
        for _ in range(CALIBRATION_CALLS):
            nothing()
        return (time.thread_time() - began) / CALIBRATION_CALLS

    plain_s = min(calls() for _ in range(CALIBRATION_ROUNDS))
    profile = cProfile.Profile(time.thread_time)
    profile.enable()
    profiled_s = min(calls() for _ in range(CALIBRATION_ROUNDS))
    profile.disable()
    return max(0.0, profiled_s - plain_s)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    recorder = _Recorder(parser.parse_args().folder)
    settings = CommandSettings()
    logs.configure("command", settings.log_level)
    serve = worker.main(settings, 0, os.getppid())

    async def framed(stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, recorder.begin)
        loop.add_signal_handler(signal.SIGUSR2, recorder.end)
        await serve(stop)

    return process.run(framed)


if __name__ == "__main__":
    raise SystemExit(main())

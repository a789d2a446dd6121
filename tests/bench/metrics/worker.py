"""`python -m tests.bench.metrics.worker FOLDER`: a command worker whose metrics can be turned off.

Settings as for `python -m command_service`. Each SIGUSR1 goes on to the next mode, and says which
that is in FOLDER/mode.json, with what was counted since the last time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
from pathlib import Path

from command_service import worker
from command_service.settings import CommandSettings
from paycore.runtime import logs, process
from tests.bench.metrics.switch import Switch

SAID = "mode.json"


def main() -> int:
    """Serve until told to stop; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    settings = CommandSettings()
    logs.configure("command", settings.log_level)
    switch = Switch()

    def turn() -> None:
        said = {"mode": switch.turn(), "calls": dict(switch.calls)}
        switch.calls.clear()
        unfinished = folder / f"{SAID}.unfinished"
        unfinished.write_text(json.dumps(said))
        unfinished.replace(folder / SAID)

    serve = worker.main(settings, 0, os.getppid())

    async def framed(stop: asyncio.Event) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, turn)
        await serve(stop)

    return process.run(framed)


if __name__ == "__main__":
    raise SystemExit(main())

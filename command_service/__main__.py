"""`python -m command_service`: the command service, as one process or as several on one port."""

from __future__ import annotations

import argparse
import os
import sys

from command_service.settings import CommandSettings
from paycore.runtime.settings import read_settings


def main() -> int:
    """Serve; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m command_service",
        description="Accepts commands and posts them. Settings: PAYCORE_COMMAND_* variables.",
    )
    parser.add_argument("--processes", type=int, help="processes that share the port")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    settings = read_settings(CommandSettings)
    processes = arguments.processes or settings.processes
    if arguments.worker is None and processes > 1:
        # Before anything imports grpc: its threads do not survive a fork, and need not start here.
        from command_service.fleet import run_fleet

        return run_fleet(processes, settings)
    from command_service import worker
    from paycore.runtime import logs, process

    parent = None if arguments.worker is None else os.getppid()
    logs.configure("command", settings.log_level)
    return process.run(worker.main(settings, arguments.worker or 0, parent))


if __name__ == "__main__":
    sys.exit(main())

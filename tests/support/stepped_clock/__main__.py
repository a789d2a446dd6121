"""Replaces the wall clock before anything else is imported, and then is the service."""

from __future__ import annotations

import runpy
import sys
import time
from pathlib import Path

_real_ns = time.time_ns


def main() -> None:
    """Run the module named on the command line, with the clock that the file tells of."""
    file, module = Path(sys.argv[1]), sys.argv[2]

    def stepped_ns() -> int:
        return _real_ns() + int(file.read_text()) * 1_000_000_000

    def stepped() -> float:
        return stepped_ns() / 1e9

    time.time_ns = stepped_ns
    time.time = stepped
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


main()

"""Steps the clocks that records and ids are made by, and then is the service.

Deadlines of calls stay as they are: gRPC's core, which sets them, and its Python part must read the
same clock.
"""

from __future__ import annotations

import runpy
import sys
import time
from pathlib import Path

import snowflake.snowflake

from paycore.runtime.clock import SystemClock


def main() -> None:
    """Run the module named on the command line, with the clock that the file tells of."""
    file, module = Path(sys.argv[1]), sys.argv[2]

    def wrong_by_s() -> int:
        return int(file.read_text())

    def now_us(self: SystemClock) -> int:
        return time.time_ns() // 1_000 + wrong_by_s() * 1_000_000

    # The very clock that the service makes for itself: that is what this launcher is for.
    SystemClock.now_us = now_us  # type: ignore[method-assign]
    snowflake.snowflake.time = lambda: time.time() + wrong_by_s()
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


main()

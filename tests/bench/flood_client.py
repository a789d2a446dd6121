"""`python -m tests.bench.flood_client`: a client that posts in bulk as fast as it is answered.

A process of its own, as floods are: it would otherwise delay the client that is measured.
Accounts come as one line of JSON on standard input; a line on standard output tells that it is
under way, and on SIGTERM another how many transfers were posted a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from paycore.runtime.process import run
from paycore.runtime.tls import TlsFiles
from tests.bench.bed import SUBMIT_TRANSFERS, check_posted
from tests.bench.flood import FLOODING
from tests.bench.lanes import Lanes, RawCall
from tests.bench.orders import Orders
from tests.bench.sizes import BATCH, BULK_CALLERS

SETTLES_IN_S = 0.5


class Flood:
    """Callers in bulk that go on until they are stopped."""

    def __init__(self, orders: Orders, accounts: Sequence[int]) -> None:
        self._orders = orders
        self._accounts = accounts
        self._posted = 0

    async def run(self, call: RawCall, stop: asyncio.Event) -> float:
        """Transfers posted a second until `stop`. Raises BenchError where one was not."""
        async with asyncio.TaskGroup() as group:
            for _ in range(BULK_CALLERS):
                group.create_task(self._caller(call, stop))
            await asyncio.sleep(SETTLES_IN_S)
            before, began_s = self._posted, time.perf_counter()
            print(FLOODING.decode(), flush=True)
            await stop.wait()
            return (self._posted - before) / (time.perf_counter() - began_s)

    async def _caller(self, call: RawCall, stop: asyncio.Event) -> None:
        # Made once and sent again with keys of their own: it shares the server's cores.
        (bulk,) = self._orders.bulks(self._accounts, 1, BATCH)
        while not stop.is_set():
            check_posted(await call(self._orders.with_new_keys(bulk)))
            self._posted += BATCH


async def _main(target: str, tls: TlsFiles, stop: asyncio.Event) -> None:
    accounts = json.loads(sys.stdin.readline())
    flood = Flood(Orders(random.Random()), accounts)  # load, not secrets
    async with Lanes(target, tls, BULK_CALLERS) as lanes:
        rate = await flood.run(lanes.call(SUBMIT_TRANSFERS), stop)
    print(round(rate), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", required=True, help="host:port")
    for name in ("certificate", "key", "ca"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="PEM file")
    arguments = parser.parse_args()
    tls = TlsFiles(arguments.certificate, arguments.key, arguments.ca)
    return run(lambda stop: _main(arguments.target, tls, stop))


if __name__ == "__main__":
    raise SystemExit(main())

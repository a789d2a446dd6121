"""Command processes are replaced one after the other under load, and no caller notices.

PAYCORE_CRASH_ROUNDS says how often each is replaced.
"""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from deploy.local import LocalStack
from deploy.local.ports import PortClaims
from deploy.local.services import SHUTDOWN_GRACE_S
from paycore.client import PaycoreClient
from tests.crash.conftest import CLIENT
from tests.support.callers import Callers
from tests.support.command_process import command_process
from tests.support.load import PATIENT, Load, assert_all_there_once
from tests.support.seeds import rounds

ROUNDS = rounds("PAYCORE_CRASH_ROUNDS", 2)

pytestmark = pytest.mark.timeout(240 + 120 * ROUNDS)


class Fleet:
    """One of the fleets that share a port."""

    def __init__(self, stack: LocalStack, log: Path, **settings: str) -> None:
        self._stack = stack
        self._log = log
        self._settings = settings
        self._running = AsyncExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Return once all its workers serve."""
        _, self._process = await self._running.enter_async_context(
            command_process(self._stack.endpoints, self._log, **self._settings)
        )

    async def stop(self) -> int:
        """Ask it to end; returns its exit code when it did within its bound."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(self._process.wait, SHUTDOWN_GRACE_S)
        await self.close()
        return code

    async def close(self) -> None:
        await self._running.aclose()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_no_call_of_our_client_fails(
    services: LocalStack, callers: Callers, rng: random.Random, tmp_path: Path, workers: str
) -> None:
    async with AsyncExitStack() as resources:
        claims = PortClaims()
        resources.callback(claims.release)
        target = f"127.0.0.1:{claims.claim()[0]}"
        fleets = [
            Fleet(services, tmp_path / f"{name}.log", PROCESSES=workers, LISTEN=target)
            for name in ("first", "second")
        ]
        for fleet in fleets:
            resources.push_async_callback(fleet.close)
            await fleet.start()
        _, *accounts = await callers.of(CLIENT).open(40, balance=5_000)
        client = await resources.enter_async_context(
            PaycoreClient(
                target, tls=services.endpoints.tls[CLIENT], connections=8, timeouts=PATIENT
            )
        )
        load = Load(client, accounts, rng)
        async with load.running(callers=8, bulk_callers=2, streams=2) as tally:
            for _ in range(ROUNDS):
                for fleet in fleets:
                    await load.until_answered(500)
                    assert await fleet.stop() == 0
                    await load.until_answered(500)
                    await fleet.start()
            await load.until_answered(500)
        assert not tally.refused
        assert tally.unknown == []
        await assert_all_there_once(tally, CLIENT, services.endpoints.postgres_dsn["paycore_audit"])

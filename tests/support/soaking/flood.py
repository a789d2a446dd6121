"""The flood of an overload, in a process of its own: beside it the usual load keeps its times."""

from __future__ import annotations

import asyncio
import itertools
import pickle
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from paycore.runtime.tls import TlsFiles
from tests.support.soaking.pace import Call, Measured, at_rate
from tests.support.soaking.payments import Heard, Payments

MODULE = "tests.support.soaking.flood"
READY = b"ready\n"
READY_WITHIN_S = 120.0
ENDED_WITHIN_S = 120.0
"""After its last call was due."""

ITEMS = 20
"""Payments in a bulk call."""

IN_BULK = 5
"""Every so manieth call is a bulk one."""

MOST_UNDER_WAY = 50_000


@dataclass(frozen=True)
class Client:
    """Who pays, between which accounts."""

    name: str
    tls: TlsFiles
    accounts: Sequence[int]


@dataclass(frozen=True)
class Plan:
    """What is to be sent."""

    target: str
    clients: Sequence[Client]
    run: str
    """What every key begins with."""
    kind: str
    seed: int
    rate_per_s: float
    seconds: float
    waited_s: float
    from_s: float
    """When the first call is due, as it is noted."""


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    measured: Measured
    heard: Sequence[Heard]


class Sender:
    """A plan whose requests are made and whose connections are open. Use `sender`."""

    def __init__(self, plan: Plan, clients: Sequence[Payments]) -> None:
        self._plan = plan
        self._clients = clients
        self._calls = _calls(clients, int(plan.rate_per_s * plan.seconds) + 2, plan.kind)

    async def send(self) -> Outcome:
        """Send all of it; returns when the last call has ended."""
        plan, measured = self._plan, Measured()
        await at_rate(
            plan.rate_per_s,
            plan.seconds,
            lambda: next(self._calls),
            MOST_UNDER_WAY,
            measured,
            from_s=plan.from_s,
        )
        return Outcome(measured, [client.heard for client in self._clients])


@asynccontextmanager
async def sender(plan: Plan) -> AsyncIterator[Sender]:
    """Of `plan`, in this process."""
    rng = random.Random(plan.seed)
    async with AsyncExitStack() as resources:
        clients = [
            await resources.enter_async_context(
                Payments(
                    plan.target,
                    one.tls,
                    one.name,
                    one.accounts,
                    f"{plan.run}-{plan.kind}",
                    rng,
                    plan.waited_s,
                )
            )
            for one in plan.clients
        ]
        yield Sender(plan, clients)


class Elsewhere:
    """A plan in a process of its own. Use `elsewhere`."""

    def __init__(self, process: asyncio.subprocess.Process, plan: Plan, outcome: Path) -> None:
        self._process = process
        self._plan = plan
        self._outcome = outcome

    async def send(self) -> Outcome:
        """As Sender.send. Raises RuntimeError where the process fails, and TimeoutError."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(self._plan.seconds + self._plan.waited_s + ENDED_WITHIN_S):
            code = await self._process.wait()
        if code != 0:
            raise RuntimeError(f"the flood's process ended with {code}: see its errors above")
        found = pickle.loads(self._outcome.read_bytes())
        assert isinstance(found, Outcome)
        return found


@asynccontextmanager
async def elsewhere(plan: Plan) -> AsyncIterator[Elsewhere]:
    """Of `plan`, ready to be sent; the process has ended after the block."""
    with tempfile.TemporaryDirectory(prefix="paycore-flood-") as folder:
        asked, outcome = Path(folder) / "plan", Path(folder) / "outcome"
        asked.write_bytes(pickle.dumps(plan))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            MODULE,
            str(asked),
            str(outcome),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                if await process.stdout.readline() != READY:
                    raise RuntimeError("the flood's process did not start: see its errors above")
            yield Elsewhere(process, plan, outcome)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _calls(clients: Sequence[Payments], count: int, kind: str) -> Iterator[Call]:
    """So many, of the clients in turn, every IN_BULK-th of them in bulk."""
    each = -(-count // len(clients))
    bulks = -(-each // IN_BULK)
    made = [
        (
            iter(client.singles(each - bulks + 1, kind)),
            iter(client.bulks(bulks + 1, ITEMS, f"{kind}, bulk")),
        )
        for client in clients
    ]

    def in_turn() -> Iterator[Call]:
        for number in itertools.count():
            singles, bulk = made[number % len(made)]
            yield next(bulk if (number // len(made)) % IN_BULK == 0 else singles)

    return in_turn()


async def _send(plan: Plan) -> Outcome:
    async with sender(plan) as ready:
        sys.stdout.buffer.write(READY)
        sys.stdout.flush()
        # The word to go, or that whoever would give it is gone.
        await asyncio.to_thread(sys.stdin.read)
        return await ready.send()


def main(asked: Path, outcome: Path) -> None:
    """Send the plan that is in `asked` once standard input ends; `outcome` has what came of it."""
    plan = pickle.loads(asked.read_bytes())
    assert isinstance(plan, Plan)
    outcome.write_bytes(pickle.dumps(asyncio.run(_send(plan))))


if __name__ == "__main__":
    # So that what is pickled is of the module by its own name.
    from tests.support.soaking import flood

    flood.main(Path(sys.argv[1]), Path(sys.argv[2]))

"""Clients that never stop, and never forget what they asked."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import grpc

from tests.bench.payers import Payer, current_sealing_key
from tests.support.callers import Caller, Callers, answered
from tests.support.crashing import heard
from tests.support.crashing.bank import Bank
from tests.support.crashing.commands import ABOVE, PLAIN, STEP_UP, Commands
from tests.support.crashing.history import History, Operation
from tests.support.crashing.sendings import Sending, look_up

ACCOUNTS = 24
BALANCE = 5_000
CROWD = 900
"""As many as one call opens and another one funds."""

CROWD_BALANCE = 1_000_000
"""In minor units: hardly anything is declined for want of money."""

PAYERS = 6
"""Who approve: if one PIN is locked after a crash, others go on."""

PACE_S = 1.0
"""How often a client with large calls begins one, where there is no hurry, in seconds."""

MOST_LOOKED_UP = 20_000
AT_ONCE = 16
PATIENCE_S = 30.0
IMPATIENT = 0.3
"""Share of commands that are given up at the first failure: their clients never know."""


async def enrol(commands: Commands, client: Caller) -> None:
    """Give `commands` PAYERS who can approve, with accounts of `client` that have money."""
    commands.sealing = await current_sealing_key(client.signing)
    for number in range(PAYERS):
        payer = Payer(f"payer-{commands.run}-{number}")
        await payer.enrol(client.signing, commands.sealing)
        external, account = await client.open(1, owner=payer.user)
        await client.fund(external, [account], ABOVE * 1_000, "EUR")
        commands.payers.append((payer, account))


class Load:
    """All commands, and the bank, by clients with connections of their own."""

    def __init__(self, callers: Callers, rng: random.Random) -> None:
        self.history = History()
        self._callers = callers
        self._rng = rng
        self._stop = asyncio.Event()
        self._goal = 0
        """How many transfers clients are to be told of before anything else happens."""

    async def prepare(self, *, approvals: bool = True, crowd: int = 0) -> None:
        """Open and fund accounts, enrol payers. All is calm yet.

        Without `approvals` nobody approves anything: there is no signing service to ask. `crowd` is
        how many accounts there are for large calls.
        """
        plain = self._callers.of(PLAIN)
        _, *accounts = await plain.open(ACCOUNTS, balance=BALANCE)
        many = (await plain.open(crowd, balance=CROWD_BALANCE))[1:] if crowd else []
        self.commands = Commands(self.history, self._rng, accounts, many)
        self.bank = await Bank.open(plain, self.commands, self._rng)
        if approvals:
            await enrol(self.commands, self._callers.of(STEP_UP))

    @asynccontextmanager
    async def running(self, clients: int, readers: int, carriers: int = 0) -> AsyncIterator[None]:
        """Clients work while the block runs, and finish what they began after it.

        `carriers` are clients beside the others, with many payments a call.
        """
        self._stop.clear()
        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                pair = {name: self._callers.another(name) for name in (PLAIN, STEP_UP)}
                group.create_task(self._work(pair, bank=number % 3 == 0))
            for _ in range(carriers):
                group.create_task(self._carry(self._callers.another(PLAIN)))
            for _ in range(readers):
                group.create_task(self._read(self._callers.another(PLAIN)))
            try:
                yield
            finally:
                self._stop.set()

    async def until_acknowledged(self, more: int, within_s: float) -> None:
        """Return once clients have been told of `more` transfers than now. Raises TimeoutError."""
        self._goal = self.history.acknowledged + more
        async with asyncio.timeout(within_s):
            while self.history.acknowledged < self._goal:
                await asyncio.sleep(0.02)

    async def settle(self, within_s: float, most: int = MOST_LOOKED_UP) -> int:
        """Ask by key what became of things, now that all is calm; returns of how many.

        Those are all of which nobody told, and at most so many of the others.
        """
        unheard = [one for one in self.history if one.unheard]
        others = [one for one in self.history if not one.unheard]
        if len(others) > most:
            others = self._rng.sample(others, most)
        await self._each([*unheard, *others], lambda one: self._look_up(one, within_s))
        return len(unheard) + len(others)

    async def replay(self, most: int) -> int:
        """Send what was answered once more, each alone, at most so many; returns how many."""
        done = [one for one in self.history if one.answer is not None]
        chosen = done if len(done) <= most else self._rng.sample(done, most)
        await self._each(chosen, self._again)
        return len(chosen)

    async def _work(self, callers: dict[str, Caller], *, bank: bool) -> None:
        while not self._stop.is_set():
            sending = self.bank.transfer() if bank else self.commands.any()
            await self._send(sending, callers[sending.operations[0].client])
            self.commands.learn(sending)
            if bank and (paid := sending.operations[0].posted) is not None:
                await self.bank.read_own(callers[PLAIN], paid)

    async def _carry(self, caller: Caller) -> None:
        while not self._stop.is_set():
            due_s = time.monotonic() + PACE_S
            await self._send(self.commands.large(), caller)
            while (
                time.monotonic() < due_s
                and self.history.acknowledged >= self._goal
                and not self._stop.is_set()
            ):
                await asyncio.sleep(0.02)

    async def _send(self, sending: Sending, caller: Caller) -> None:
        patience_s = 0.0 if self._rng.random() < IMPATIENT else PATIENCE_S
        give_up_s = time.monotonic() + patience_s
        while True:
            await sending.attempt(caller)
            if sending.answered or time.monotonic() > give_up_s:
                return
            await asyncio.sleep(self._rng.uniform(0.02, 0.3))

    async def _read(self, caller: Caller) -> None:
        while not self._stop.is_set():
            await self.bank.read(caller)
            await asyncio.sleep(self._rng.uniform(0, 0.05))

    async def _look_up(self, operation: Operation, within_s: float) -> None:
        await look_up(self._callers.of(operation.client), operation, within_s)

    async def _again(self, operation: Operation) -> None:
        began_s = time.monotonic()
        caller = self._callers.of(operation.client)
        call = self.commands.again(operation)
        try:
            reply = await answered(lambda: call(caller))
        except grpc.RpcError as failure:
            self.history.note(operation, heard.failed(began_s, failure))
        else:
            self.history.note(operation, heard.posted(began_s, reply))

    async def _each(
        self, operations: Sequence[Operation], do: Callable[[Operation], Awaitable[None]]
    ) -> None:
        waiting = iter(operations)

        async def work() -> None:
            for operation in waiting:
                await do(operation)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())

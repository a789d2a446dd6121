"""All that clients do in a day: payments of every kind, and reads of every kind, by chance."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import grpc

from paycore.runtime.errors import from_rpc_error
from tests.support.callers import Caller, Callers
from tests.support.crashing.commands import PLAIN, STEP_UP, Commands
from tests.support.crashing.load import enrol
from tests.support.crashing.sendings import Sending
from tests.support.fuzzing.right import RIGHT
from tests.support.fuzzing.right.prepared import prepared
from tests.support.fuzzing.right.world import Books, World
from tests.support.soaking.pace import Call
from tests.support.soaking.told import Forgetful, Told

ACCOUNTS = 200
BALANCE = 10**8
"""Minor units: hours of payments by chance use none of them up."""

CLIENTS = 8
"""Connections of each client: they reach every process."""

READ_TIMEOUT_S = 10.0
AT_ONCE = 8
"""Approvals by PIN, to begin with."""

WEIGHTS: Mapping[str, int] = {
    "single": 40,
    "bulk": 4,
    "stream": 4,
    "group": 4,
    "hold": 8,
    "capture": 6,
    "release": 3,
    "refund": 4,
    "reversal": 2,
    "by PIN": 1,
    "by device": 4,
    "balance": 8,
    "transfer": 3,
    "list": 4,
    "statement": 3,
    "search": 2,
    "analytics": 3,
}
"""How often each kind of call, of all of them together."""

READS: Mapping[str, Sequence[str]] = {
    "balance": ("HistoryService/GetBalance",),
    "transfer": ("HistoryService/GetTransfer",),
    "list": ("HistoryService/ListTransfers",),
    "statement": ("HistoryService/GetStatement",),
    "search": ("HistoryService/SearchTransfers",),
    "analytics": (
        "AnalyticsService/TransferVolume",
        "AnalyticsService/TopCounterparties",
        "AnalyticsService/KindBreakdown",
        "AnalyticsService/InstitutionPositions",
        "AnalyticsService/AccountActivity",
        "AnalyticsService/DeclineStatistics",
        "AnalyticsService/LatencyOfProjection",
    ),
}


class Mix:
    """Makes calls by chance. Use `mix`."""

    def __init__(
        self,
        commands: Commands,
        world: World,
        callers: Mapping[str, Sequence[Caller]],
        rng: random.Random,
    ) -> None:
        self.told = Told()
        self.commands = commands
        self._world = world
        self._turns = {name: itertools.cycle(some) for name, some in callers.items()}
        self._rng = rng

    @property
    def accounts(self) -> Sequence[int]:
        """Those between which payments go."""
        return self._world.books[PLAIN].accounts

    def any(self) -> Call:
        """A call of any kind."""
        (kind,) = self._rng.choices(list(WEIGHTS), list(WEIGHTS.values()))
        return self.of(kind)

    def of(self, kind: str) -> Call:
        """A call of that kind; a single payment where there is nothing yet that it could follow."""
        if kind in READS:
            return Call(kind, self._read(self._rng.choice(READS[kind])))
        sending = self.commands.of(kind)
        if sending is None:
            kind, sending = "single", self.commands.of("single")
        assert sending is not None
        return Call(kind, self._command(sending))

    def _command(self, sending: Sending) -> Callable[[], Awaitable[str]]:
        async def make() -> str:
            caller = next(self._turns[sending.operations[0].client])
            await sending.attempt(caller)
            self.told.take(sending)
            self.commands.learn(sending)
            for one in sending.operations:
                self.commands.forget(one)
            # A refusal after which nothing is done is an answer: what was to be refunded is
            # reversed by now.
            unheard = (one for one in sending.operations if one.unheard)
            return next((one.replies[-1].reason for one in unheard), "")

        return make

    def _read(self, method: str) -> Callable[[], Awaitable[str]]:
        async def make() -> str:
            caller = next(self._turns[PLAIN])
            request = await RIGHT[method].build(self._world, PLAIN)
            service, _, name = method.partition("/")
            stub: Any = caller.history if service == "HistoryService" else caller.analytics
            return await trouble_of(getattr(stub, name)(request, timeout=READ_TIMEOUT_S))

        return make


async def trouble_of(call: Awaitable[object]) -> str:
    """Why `call` was not answered: paycore's reason or gRPC's code; nothing where it was."""
    try:
        await call
    except grpc.RpcError as failure:
        error = from_rpc_error(failure)
        code: Any = failure
        return f"gRPC: {code.code().name}" if error is None else error.reason.value
    return ""


async def mix(callers: Callers, rng: random.Random) -> Mix:
    """Accounts with money, payers who approve, and clients with connections of their own."""
    world = await prepared(callers, rng)
    plain = callers.of(PLAIN)
    external, *accounts = await plain.open(ACCOUNTS, balance=BALANCE)
    payments = world.books[PLAIN].payments
    world.books[PLAIN] = Books(external, accounts, world.books[PLAIN].approving, payments)
    commands = Commands(Forgetful(), rng, accounts, accounts)
    await enrol(commands, callers.of(STEP_UP))
    several = {name: [callers.another(name) for _ in range(CLIENTS)] for name in (PLAIN, STEP_UP)}
    made = Mix(commands, world, several, rng)
    await _hash_at_once(made)
    return made


async def _hash_at_once(made: Mix) -> None:
    """Approve by PIN as many at once as the signing service hashes: each of its threads then has
    the memory that a hash takes, which it keeps. It would be had by chance otherwise, late."""
    troubles = await asyncio.gather(*(made.of("by PIN").make() for _ in range(AT_ONCE)))
    # A signer that hashes for the first time may be too late for some.
    assert set(troubles) <= {"", "SIGNER_UNAVAILABLE"}, troubles

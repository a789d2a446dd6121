"""Ten times the usual load, for a while, beside the usual one, which goes on before and after."""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from deploy.local import LocalStack
from paycore.v1 import policy_service_pb2 as policy
from tests.bench.figures import percentile
from tests.support.callers import TIMEOUT_S, Caller, Callers
from tests.support.crashing.commands import PLAIN, STEP_UP
from tests.support.soaking.pace import Call, Measured, at_rate, windows
from tests.support.soaking.payments import Heard, Payments
from tests.support.soaking.samples import Samples, sampled

LIMITED = STEP_UP
"""A client that may ask no more than its usual share; the other may ask as much as it wants."""

TIMES = 10
ACCOUNTS = 500
BALANCE = 10**9
ITEMS = 20
"""Payments in a bulk call."""

IN_BULK = 5
"""Every so manieth call is a bulk one."""

WAITED_S = 5.0
"""How long every caller waits for its answer."""

MOST_UNDER_WAY = 50_000
WINDOW_S = 2.0
"""Stretches in which the usual load's latency is looked at."""

USUAL = "usual"
FLOOD = "flood"


@dataclass(frozen=True)
class Phases:
    """Seconds of each."""

    before_s: float
    flood_s: float
    after_s: float

    @property
    def all_s(self) -> float:
        return self.before_s + self.flood_s + self.after_s

    @property
    def calm_from_s(self) -> float:
        """When nothing more of the flood is sent."""
        return self.before_s + self.flood_s


@dataclass(frozen=True)
class Overload:
    """All that was seen."""

    rate_per_s: float
    """Calls of the usual load."""
    phases: Phases
    usual: Measured
    flood: Measured
    heard: Sequence[Heard]
    samples: Samples
    run: str
    """What every key begins with."""

    @property
    def usual_p99_s(self) -> float:
        """Before the flood."""
        return percentile(sorted(self._took(0, self.phases.before_s)), 99)

    def bound_s(self, least_s: float) -> float:
        """The latency that is as usual: up to three times the usual, or `least_s`."""
        return max(least_s, 3 * self.usual_p99_s)

    def back_after_s(self, least_s: float) -> float | None:
        """How long after the flood's end 99% of the usual load's calls were as usual again, and
        stayed so; None where they were not to the end."""
        bound_s = self.bound_s(least_s)
        calm = [one for one in self.usual.calls if one.due_s >= self.phases.calm_from_s]
        late = [
            one.from_s + WINDOW_S
            for one in windows(calm, WINDOW_S)
            if one.p99_s > bound_s or one.troubled
        ]
        if not late:
            return 0.0
        after_s = max(late) - self.phases.calm_from_s
        return after_s if after_s < self.phases.after_s else None

    def _took(self, from_s: float, to_s: float) -> Iterator[float]:
        return (
            one.took_s for one in self.usual.calls if from_s <= one.due_s < to_s and not one.trouble
        )


async def overload(
    stack: LocalStack,
    callers: Callers,
    rng: random.Random,
    *,
    rate_per_s: float,
    phases: Phases,
) -> Overload:
    """The usual load all the while, nine times as much beside it in the middle. Half of the calls
    are of a client whose rate is limited to its usual one."""
    run = f"{rng.getrandbits(32):08x}"
    async with AsyncExitStack() as resources:
        clients = []
        for name in (PLAIN, LIMITED):
            _, *accounts = await callers.of(name).open(ACCOUNTS, balance=BALANCE)
            clients.append(
                await resources.enter_async_context(
                    Payments(stack.endpoints, name, accounts, run, rng, WAITED_S)
                )
            )
        usual_calls = _calls(clients[:1], int(rate_per_s * phases.all_s) + 2, USUAL)
        flood_rate = (TIMES - 1) * rate_per_s
        flood_calls = _calls(clients, int(flood_rate * phases.flood_s) + 2, FLOOD)
        # Bulk calls count as many as their payments.
        share = (1 + (ITEMS - 1) / IN_BULK) / 2
        await resources.enter_async_context(
            _limited(callers.of("operator"), LIMITED, rate_per_s * share)
        )
        samples = await resources.enter_async_context(sampled(stack, 1.0))
        usual, flood = Measured(), Measured()

        async def in_the_middle() -> None:
            await asyncio.sleep(phases.before_s)
            await at_rate(
                flood_rate,
                phases.flood_s,
                lambda: next(flood_calls),
                MOST_UNDER_WAY,
                flood,
                from_s=phases.before_s,
            )

        async with asyncio.TaskGroup() as group:
            group.create_task(
                at_rate(rate_per_s, phases.all_s, lambda: next(usual_calls), MOST_UNDER_WAY, usual)
            )
            group.create_task(in_the_middle())
        heard = [client.heard for client in clients]
        return Overload(rate_per_s, phases, usual, flood, heard, samples, f"{run}-")


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
    for number in itertools.count():
        singles, bulk = made[number % len(made)]
        yield next(bulk if (number // len(made)) % IN_BULK == 0 else singles)


@asynccontextmanager
async def _limited(operator: Caller, client: str, per_s: float) -> AsyncIterator[None]:
    """`client` may ask so much a second while the block runs."""
    place = policy.LimitPlace(client=client, name=policy.LIMIT_NAME_CLIENT)
    rate = policy.RateLimit(per_s=per_s, burst=max(1_000, int(per_s)))
    await operator.policy.SetLimit(
        policy.SetLimitRequest(
            idempotency_key=secrets.token_hex(12),
            limit=policy.Limit(place=place, rate=rate),
            reason="overload",
        ),
        timeout=TIMEOUT_S,
    )
    try:
        yield
    finally:
        await operator.policy.RemoveLimit(
            policy.RemoveLimitRequest(
                idempotency_key=secrets.token_hex(12), place=place, reason="overload"
            ),
            timeout=TIMEOUT_S,
        )

"""Ten times the usual load, for a while, beside the usual one, which goes on before and after."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from deploy.local import LocalStack
from paycore.v1 import policy_service_pb2 as policy
from tests.bench.figures import percentile
from tests.support.callers import TIMEOUT_S, Caller, Callers
from tests.support.crashing.commands import PLAIN, STEP_UP
from tests.support.soaking.flood import (
    IN_BULK,
    ITEMS,
    Client,
    Outcome,
    Plan,
    elsewhere,
    sender,
)
from tests.support.soaking.pace import Measured, Window, windows
from tests.support.soaking.payments import Heard
from tests.support.soaking.samples import Samples, sampled

LIMITED = STEP_UP
"""A client that may ask no more than its usual share; the other may ask as much as it wants."""

TIMES = 10
ACCOUNTS = 500
BALANCE = 10**9
WAITED_S = 5.0
"""How long every caller waits for its answer."""

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
        late = [
            one.from_s + WINDOW_S for one in self.passing() if one.p99_s > bound_s or one.troubled
        ]
        after_s = max(late, default=0.0)
        return after_s if after_s < self.phases.after_s else None

    def passing(self) -> list[Window]:
        """The usual load from the flood's end on, counted from there, by WINDOW_S."""
        calm_s = self.phases.calm_from_s
        calm = (
            one._replace(due_s=one.due_s - calm_s)
            for one in self.usual.calls
            if one.due_s >= calm_s
        )
        return windows(calm, WINDOW_S)

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
    run = secrets.token_hex(4)
    endpoints = stack.endpoints
    clients = []
    for name in (PLAIN, LIMITED):
        _, *accounts = await callers.of(name).open(ACCOUNTS, balance=BALANCE)
        clients.append(Client(name, endpoints.tls[name], accounts))
    usual_plan = Plan(
        target=endpoints.command_target,
        clients=clients[:1],
        run=run,
        kind=USUAL,
        seed=rng.getrandbits(32),
        rate_per_s=rate_per_s,
        seconds=phases.all_s,
        waited_s=WAITED_S,
        from_s=0.0,
    )
    flood_plan = replace(
        usual_plan,
        clients=clients,
        kind=FLOOD,
        seed=rng.getrandbits(32),
        rate_per_s=(TIMES - 1) * rate_per_s,
        seconds=phases.flood_s,
        from_s=phases.before_s,
    )
    # What is usual of the limited client; bulk calls count as many as their payments.
    share_per_s = rate_per_s * (1 + (ITEMS - 1) / IN_BULK) / len(clients)
    async with (
        sender(usual_plan) as usual,
        elsewhere(flood_plan) as flood,
        _limited(callers.of("operator"), LIMITED, share_per_s),
        sampled(stack, 1.0) as samples,
        asyncio.TaskGroup() as group,
    ):

        async def in_the_middle() -> Outcome:
            await asyncio.sleep(phases.before_s)
            return await flood.send()

        usual_sent = group.create_task(usual.send())
        flood_sent = group.create_task(in_the_middle())
    usual_heard, flood_heard = usual_sent.result(), flood_sent.result()
    return Overload(
        rate_per_s,
        phases,
        usual_heard.measured,
        flood_heard.measured,
        [*usual_heard.heard, *flood_heard.heard],
        samples,
        f"{run}-",
    )


@asynccontextmanager
async def _limited(operator: Caller, client: str, per_s: float) -> AsyncIterator[None]:
    """`client` may ask so much a second while the block runs."""
    place = policy.LimitPlace(client=client, name=policy.LIMIT_NAME_CLIENT)
    rate = policy.RateLimit(per_s=per_s, burst=max(ITEMS, int(per_s)))
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

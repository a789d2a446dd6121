"""Single payments at one rate after the other: which is the highest that is borne."""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence

from deploy.local import Endpoints
from tests.bench.figures import percentile
from tests.support.callers import Callers
from tests.support.crashing.commands import PLAIN
from tests.support.soaking.pace import Measured, at_rate
from tests.support.soaking.payments import Payments
from tests.support.soaking.search import Search, Step, highest
from tests.support.soaking.told import Told

ACCOUNTS = 999
BALANCE = 10**9
P99_WITHIN_S = 0.1
"""What makes a rate borne: 99% of its payments are answered within this of when they were due, and
all are answered."""

TIMEOUT_S = 5.0
SETTLES_S = 1.0
"""Of each step, the time at its beginning that is not judged: nothing has its pace yet."""


async def highest_rate(
    endpoints: Endpoints,
    callers: Callers,
    rng: random.Random,
    *,
    step_s: float,
    first_per_s: float,
    most_per_s: float,
) -> tuple[Search, Told, str]:
    """The search, with what was told of every payment and what their keys begin with."""
    _, *accounts = await callers.of(PLAIN).open(ACCOUNTS, balance=BALANCE)
    run = secrets.token_hex(4)
    where = (endpoints.command_target, endpoints.tls[PLAIN])
    async with Payments(*where, PLAIN, accounts, run, rng, TIMEOUT_S) as payments:

        async def hold(rate_per_s: float) -> Step:
            return await _hold(payments, rate_per_s, step_s)

        # Whatever is opened at first use is, before it counts.
        await hold(first_per_s)
        return await highest(hold, first_per_s, most_per_s), payments.heard.told, f"{run}-"


async def _hold(payments: Payments, rate_per_s: float, step_s: float) -> Step:
    seconds = SETTLES_S + step_s
    calls = iter(payments.singles(int(seconds * rate_per_s) + 2))
    measured = Measured()
    # With a second's worth under way the rate is not borne, whatever follows.
    most = max(100, int(rate_per_s))
    await at_rate(rate_per_s, seconds, lambda: next(calls), most, measured)
    judged = [one for one in measured.calls if one.due_s >= SETTLES_S]
    took = sorted(one.took_s for one in judged if not one.trouble)
    p50_s, p99_s = (percentile(took, at) if took else seconds for at in (50, 99))
    troubles = _said(sorted({one.trouble for one in judged if one.trouble}))
    return Step(
        rate_per_s,
        len(judged),
        p50_s,
        p99_s,
        measured.late(99),
        troubles,
        borne=not troubles and p99_s < P99_WITHIN_S,
    )


def _said(troubles: Sequence[str]) -> str:
    return ", ".join(troubles)

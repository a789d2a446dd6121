"""Rate limits per client: GCRA shared through Redis, with a stricter in-process fallback.

Calls that wait together share one round trip, and a busy client's process takes some units ahead,
in proportion to the rate: slow limits stay exact, and fast ones do not cost a round trip a call.
When Redis is away or slow, the fallback decides at
once and a probe looks for its return, so no call ever waits for a dead Redis more than once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import redis.asyncio as redis
import structlog
from prometheus_client import Counter, Gauge
from redis.exceptions import RedisError

from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.clock import Clock

REPLY_WITHIN_S = 0.05
"""How long Redis may take before the fallback decides, in seconds."""

PROBE_EVERY_S = 0.25
"""How often the way to Redis is tried while it is away, in seconds."""

AHEAD_S = 0.01
"""How much of a client's rate one process takes ahead, in seconds of that rate."""

AHEAD_FOR_S = 0.1
"""How long units taken ahead may be used, in seconds."""

FALLBACK_SHARE = 0.5
"""Part of a client's rate that one process allows on its own."""

MOST_CLIENTS = 10_000
"""Clients whose state the fallback remembers; the least recent is forgotten first."""

_SCRIPT = (Path(__file__).parent / "gcra.lua").read_text(encoding="utf-8")
_US = 1_000_000
_AWAY = (RedisError, OSError, TimeoutError)

LIMITED = Counter("paycore_rate_limited_total", "Calls refused by a rate limit.", ["client"])
DECIDED = Counter("paycore_limit_decisions_total", "Rate limit decisions.", ["by"])
_BY_REDIS = DECIDED.labels("redis")
_BY_FALLBACK = DECIDED.labels("fallback")
SHARED = Gauge("paycore_limits_shared", "1 while Redis decides, 0 while the fallback does.")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A steady rate and how much of it may come at once."""

    per_s: float
    burst: int

    @property
    def interval_us(self) -> float:
        """Microseconds that one unit takes up."""
        return _US / self.per_s


class LocalLimiter:
    """GCRA in this process's memory."""

    def __init__(self, limit: RateLimit, clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        self._arrivals_us: OrderedDict[str, float] = OrderedDict()

    def wait_us(self, client: str, cost: int) -> float:
        """0 when `cost` units are admitted now, else the microseconds after which they would be."""
        now_us = self._clock.monotonic_s() * _US
        interval_us = self._limit.interval_us
        taken_us = max(self._arrivals_us.get(client, now_us) - now_us, 0.0)
        # In this order no rounding refuses a whole burst to a client that has used none of it.
        early_us = taken_us + (cost - self._limit.burst) * interval_us
        if early_us > 0:
            return early_us
        self._arrivals_us[client] = now_us + taken_us + cost * interval_us
        self._arrivals_us.move_to_end(client)
        if len(self._arrivals_us) > MOST_CLIENTS:
            self._arrivals_us.popitem(last=False)
        return 0.0


@dataclass(slots=True)
class _Asked:
    """A call that waits for its decision."""

    client: str
    cost: int
    decision: asyncio.Future[float]


@dataclass(slots=True)
class _Ahead:
    """Units of one client that Redis has already counted."""

    units: int
    until_s: float


class SharedLimiter:
    """The limiter of a service process. `start` before use, `stop` at the end."""

    def __init__(self, url: str, name: str, limit: RateLimit, clock: Clock) -> None:
        self._redis = redis.Redis.from_url(
            url,
            socket_timeout=REPLY_WITHIN_S,
            socket_connect_timeout=REPLY_WITHIN_S,
            retry=None,
            max_connections=4,
        )
        self._script = self._redis.register_script(_SCRIPT)
        self._name = name
        self._limit = limit
        self._fallback = LocalLimiter(
            RateLimit(limit.per_s * FALLBACK_SHARE, max(1, int(limit.burst * FALLBACK_SHARE))),
            clock,
        )
        self._clock = clock
        self._ahead_units = min(int(limit.per_s * AHEAD_S), limit.burst // 10)
        self._ahead: dict[str, _Ahead] = {}
        self._waiting: list[_Asked] = []
        self._wake = asyncio.Event()
        self._shared = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to decide; Redis need not be there yet."""
        self._task = asyncio.create_task(self._decide_for_ever(), name="limits")

    async def stop(self) -> None:
        """Stop deciding; calls still waiting are decided by the fallback."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._lose(self._waiting)
        await self._redis.aclose()

    async def admit(self, client: str, cost: int) -> None:
        """Raise PaycoreError RATE_LIMITED when `client` has used up its rate; `cost` >= 1."""
        if self._use_ahead(client, cost):
            return
        if not self._shared:
            _BY_FALLBACK.inc()
            wait_us = self._fallback.wait_us(client, cost)
        else:
            asked = _Asked(client, cost, asyncio.get_running_loop().create_future())
            self._waiting.append(asked)
            self._wake.set()
            wait_us = await asked.decision
        if wait_us > 0:
            LIMITED.labels(client).inc()
            raise PaycoreError(
                Reason.RATE_LIMITED,
                f"{client} exceeds {self._limit.per_s:g}/s",
                {"limit": self._name, "per_s": f"{self._limit.per_s:g}"},
                retry_after_ms=max(1, int(wait_us / 1_000)),
            )

    def _use_ahead(self, client: str, cost: int) -> bool:
        ahead = self._ahead.get(client)
        if ahead is None or ahead.units < cost or ahead.until_s <= self._clock.monotonic_s():
            return False
        ahead.units -= cost
        return True

    async def _decide_for_ever(self) -> None:
        while True:
            if not self._shared:
                await self._probe()
                continue
            await self._wake.wait()
            self._wake.clear()
            batch, self._waiting = self._waiting, []
            try:
                await self._ask(batch)
            except _AWAY as error:
                log.warning("redis away: limits fall back", error=type(error).__name__)
                self._fall_back(batch)
            except Exception:
                # Such as a reply of another shape: callers must not wait for a task that ended.
                log.exception("redis is of no use: limits fall back")
                self._fall_back(batch)
                await asyncio.sleep(PROBE_EVERY_S)
            except BaseException:
                self._lose(batch)
                raise

    async def _ask(self, batch: list[_Asked]) -> None:
        keys = [f"limit:{self._name}:{asked.client}" for asked in batch]
        arguments: list[str | int] = []
        eager: set[str] = set()
        for asked in batch:
            ahead = 0 if asked.client in eager else self._ahead_units
            eager.add(asked.client)
            arguments += [repr(self._limit.interval_us), self._limit.burst, asked.cost, ahead]
        async with asyncio.timeout(REPLY_WITHIN_S):
            decisions = await self._script(keys=keys, args=arguments)
        # All of the reply is looked at before any of it counts.
        decided = [
            (asked, float(wait_us), int(ahead))
            for asked, (wait_us, ahead) in zip(batch, decisions, strict=True)
        ]
        until_s = self._clock.monotonic_s() + AHEAD_FOR_S
        for asked, wait_us, ahead in decided:
            if ahead:
                self._remember(asked.client, _Ahead(ahead, until_s))
            if not asked.decision.done():
                asked.decision.set_result(wait_us)
        _BY_REDIS.inc(len(batch))

    def _remember(self, client: str, ahead: _Ahead) -> None:
        self._ahead.pop(client, None)
        self._ahead[client] = ahead
        if len(self._ahead) > MOST_CLIENTS:
            del self._ahead[next(iter(self._ahead))]

    def _fall_back(self, batch: list[_Asked]) -> None:
        self._set_shared(False)
        self._lose(batch)
        self._lose(self._waiting)

    def _lose(self, batch: list[_Asked]) -> None:
        _BY_FALLBACK.inc(len(batch))
        for asked in batch:
            if not asked.decision.done():
                asked.decision.set_result(self._fallback.wait_us(asked.client, asked.cost))
        batch.clear()

    async def _probe(self) -> None:
        try:
            async with asyncio.timeout(REPLY_WITHIN_S):
                await self._redis.ping()
        except _AWAY:
            await asyncio.sleep(PROBE_EVERY_S)
        except Exception:
            log.exception("redis cannot be probed")
            await asyncio.sleep(PROBE_EVERY_S)
        else:
            self._set_shared(True)

    def _set_shared(self, shared: bool) -> None:
        self._shared = shared
        SHARED.set(1 if shared else 0)
        if shared:
            log.info("limits are shared through redis")

"""Calls of every kind of method with bytes of any kind, and what may come of them."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from tests.support.fuzzing.messages import Messages
from tests.support.fuzzing.values import Known

OWN_RACE = "Internal error from Core"
"""What grpc.aio says of its own writing to a call that has just been ended: no server does."""

NEVER = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS})
"""Codes that tell of a fault of the service."""

LATE_S = 5.0
"""How much later than its deadline a call may end, in seconds, but for what this process lost: the
caller's own side ends it, from a queue that sixteen workers and the services' processes delay."""

BEAT_S = 0.02
"""How often this process looks whether it keeps up, in seconds."""

AMPLE_S = 10.0
"""A call with so much time has to be answered within it, in seconds."""

MOST_REPLIES = 20
"""Replies that are read of a stream before it is left."""


@dataclass(frozen=True)
class Target:
    """A method, and everybody's way to its server."""

    method: MethodDescriptor
    channels: Mapping[str, grpc.aio.Channel]

    @property
    def path(self) -> str:
        return f"/{self.method.containing_service.full_name}/{self.method.name}"


@dataclass
class Findings:
    """What was seen of all calls."""

    calls: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    """What may not be, with all that is needed to look into it."""


class Fuzzer:
    """Makes calls at random, several at once: what is sent follows from `rng`, not its order."""

    def __init__(self, targets: Sequence[Target], known: Known, rng: random.Random) -> None:
        self._targets = targets
        self._known = known
        self._rng = rng
        self._messages = Messages(rng, known)
        self.findings = Findings()
        self._lost_s = 0.0

    async def run(self, calls: int, at_once: int = 16) -> None:
        """Make `calls` more calls, in turn over all methods."""
        ahead = iter(range(calls))

        async def work() -> None:
            for number in ahead:
                await self._call(self._targets[number % len(self._targets)])

        heart = asyncio.create_task(self._beat())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(at_once):
                    group.create_task(work())
        finally:
            heart.cancel()

    async def _beat(self) -> None:
        """Count the time in which this process did not come to what was due."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(BEAT_S)
            self._lost_s += time.monotonic() - began - BEAT_S

    async def _call(self, target: Target) -> None:
        rng = self._rng
        who = rng.choice(list(target.channels))
        timeout = rng.choice((AMPLE_S, AMPLE_S, AMPLE_S, AMPLE_S, 0.3, 0.02, 0.0))
        many = rng.choice((0, 1, 1, 2, 5)) if target.method.client_streaming else 1
        requests = [self._messages.request(target.method.input_type) for _ in range(many)]
        metadata = rng.choice(_METADATA)
        cut = target.method.client_streaming and rng.random() < 0.3
        began, lost_before_s = time.monotonic(), self._lost_s
        code, details = await self._outcome(target, who, requests, timeout, metadata, cut=cut)
        # What was lost is counted at the next beat.
        await asyncio.sleep(BEAT_S)
        took = time.monotonic() - began - (self._lost_s - lost_before_s)
        self.findings.calls += 1
        self.findings.outcomes[code.name] += 1
        endless = target.method.server_streaming
        hung = code is grpc.StatusCode.DEADLINE_EXCEEDED and timeout == AMPLE_S and not endless
        if (code in NEVER and details != OWN_RACE) or hung or took > timeout + LATE_S:
            sent = b"|".join(requests)[:300].hex()
            self.findings.faults.append(
                f"{target.path} as {who}: {code.name} {details!r} after {took:.2f} of {timeout} s;"
                f" metadata {metadata}; sent {sent}"
            )

    async def _outcome(
        self,
        target: Target,
        who: str,
        requests: Sequence[bytes],
        timeout: float,
        metadata: Any,
        *,
        cut: bool,
    ) -> tuple[grpc.StatusCode, str]:
        channel: Any = target.channels[who]
        reply_class = GetMessageClass(target.method.output_type)
        try:
            if not target.method.server_streaming:
                raw = await channel.unary_unary(target.path)(
                    requests[0], timeout=timeout, metadata=metadata
                )
                self._known.learn(reply_class.FromString(raw))
                return grpc.StatusCode.OK, ""
            # What streams for ever is left after a while.
            timeout = min(timeout, 0.3)
            if target.method.client_streaming:
                call = channel.stream_stream(target.path)(
                    self._sent(requests), timeout=timeout, metadata=metadata
                )
            else:
                call = channel.unary_stream(target.path)(
                    requests[0], timeout=timeout, metadata=metadata
                )
            read = 0
            async for raw in call:
                self._known.learn(reply_class.FromString(raw))
                read += 1
                if cut or read == MOST_REPLIES:
                    call.cancel()
                    break
            return await call.code(), await call.details() or ""
        except grpc.aio.AioRpcError as refused:
            return refused.code(), refused.details() or ""
        except asyncio.CancelledError:
            # Ours of the call, unless this task is to end.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return grpc.StatusCode.CANCELLED, ""

    async def _sent(self, requests: Sequence[bytes]) -> AsyncIterator[bytes]:
        for request in requests:
            yield request
            if self._rng.random() < 0.2:
                await asyncio.sleep(self._rng.random() / 20)


_METADATA: tuple[tuple[tuple[str, str | bytes], ...], ...] = (
    (),
    (),
    (),
    (("x-request-id", "fuzz-1"),),
    (("x-request-id", ""),),
    (("x-request-id", "y" * 3_000),),
    (("x-request-id", "'; DROP TABLE audit.events; --"), ("x-request-id", "twice")),
    (("x-request-id-bin", b"\0\xff"), ("grpc-status-details-bin", b"\xff")),
    (("authorization", "Bearer nobody"), ("traceparent", "00-0-0-zz")),
)

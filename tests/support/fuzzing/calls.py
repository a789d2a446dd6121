"""Calls of every kind of method with bytes of any kind, and what may come of them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from tests.support.fuzzing.findings import Findings
from tests.support.fuzzing.messages import Messages
from tests.support.fuzzing.mutants import Mutants
from tests.support.fuzzing.own_lateness import OwnLateness
from tests.support.fuzzing.right import RIGHT
from tests.support.fuzzing.right.world import Right, World
from tests.support.fuzzing.values import Known

NEVER = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS})
"""Codes that tell of a fault of the service."""

LATE_S = 1.0
"""How much later than its deadline a call may end, in seconds, beyond what this process is late
with whatever it waits for at that time."""

AMPLE_S = 10.0
"""A call with so much time has to be answered within it, in seconds."""

AGAIN = 2
"""How often such a call is made again that was not answered."""

HUNG_S = 60.0
"""What has not ended so long after its deadline never does, in seconds."""

MOST_REPLIES = 20
"""Replies that are read of a stream before it is left."""

WATCHED_S = 0.3
"""How long a stream without end is watched, in seconds."""


@dataclass(frozen=True)
class Target:
    """A method, and everybody's way to its server."""

    server: str
    method: MethodDescriptor
    channels: Mapping[str, Sequence[grpc.aio.Channel]]
    allowed: Sequence[str]
    """Who may call it."""

    @property
    def path(self) -> str:
        return f"/{self.method.containing_service.full_name}/{self.method.name}"

    @property
    def name(self) -> str:
        """Short, for people."""
        return f"{self.server} {self.method.containing_service.name}/{self.method.name}"

    @property
    def right(self) -> Right | None:
        """How to call it rightly; None where nobody has said."""
        return RIGHT.get(f"{self.method.containing_service.name}/{self.method.name}")

    @property
    def endless(self) -> bool:
        """Whether its replies go on until the caller leaves."""
        return self.method.server_streaming and not self.method.client_streaming


class _Sending(NamedTuple):
    """One call before it is made."""

    who: str
    sort: str
    requests: Sequence[bytes]
    right: Any
    """The request, where it is right."""
    timeout_s: float
    metadata: Any
    cut: bool
    """Whether it is left after the first reply."""


class _Ended(NamedTuple):
    code: grpc.StatusCode
    details: str = ""
    replies: Sequence[bytes] = ()
    own_race: bool = False


def made_by_caller(error: grpc.aio.AioRpcError) -> bool:
    """Whether grpc.aio made up `error` itself, when it wrote to a call that had just been ended.

    tests/integration/runtime/test_own_race.py shows that no server answers so. What the services
    did answer with INTERNAL they have counted.
    """
    # Of a status that was received it begins with the code's name.
    own = (error.debug_error_string() or "").startswith("Failed ")
    return own and _sounds_made_up(error.code(), error.details())


def _sounds_made_up(code: grpc.StatusCode, details: str | None) -> bool:
    return code is grpc.StatusCode.INTERNAL and details == "Internal error from Core"


class Fuzzer:
    """Makes calls at random, several at once: what is sent follows from `rng`, and from what was
    answered before."""

    def __init__(
        self,
        targets: Sequence[Target],
        known: Known,
        world: World,
        own_lateness: OwnLateness,
        rng: random.Random,
    ) -> None:
        self._targets = targets
        self._known = known
        self._world = world
        self._own_lateness = own_lateness
        self._rng = rng
        self._messages = Messages(rng, known)
        self._mutants = Mutants(rng, self._messages)
        self.findings = Findings()

    async def begin(self) -> int:
        """Call every method rightly, by whoever may; returns how many calls that were."""
        return await self._all_rightly(self._targets)

    async def insist(self, rounds: int) -> int:
        """Call rightly what was never answered well yet, up to `rounds` times each; returns how
        many calls that were. Among few calls it is chance which of them had anything to act on."""
        before = self.findings.calls
        for _ in range(rounds):
            unanswered = [one for one in self._targets if not self.findings.right[one.name]]
            await self._all_rightly(unanswered)
        return self.findings.calls - before

    async def run(self, calls: int, at_once: int = 48) -> None:
        """Make `calls` more calls, in turn over all methods."""
        ahead = iter(range(calls))

        async def work() -> None:
            for number in ahead:
                target = self._targets[number % len(self._targets)]
                await self._make(target, await self._sending(target))

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(work())

    async def _all_rightly(self, targets: Sequence[Target]) -> int:
        ahead = iter(targets)

        async def work() -> None:
            for target in ahead:
                who = self._rng.choice(target.allowed)
                request = await self._built(target, who)
                if request is not None:
                    raw = [request.SerializeToString()]
                    sending = _Sending(who, "right", raw, request, AMPLE_S, (), False)
                    await self._make(target, sending)

        before = self.findings.calls
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(work())
        return self.findings.calls - before

    async def _sending(self, target: Target) -> _Sending:
        rng = self._rng
        timeout_s = rng.choice((AMPLE_S, AMPLE_S, AMPLE_S, AMPLE_S, AMPLE_S, 0.3, 0.02, 0.0))
        cut = target.method.client_streaming and rng.random() < 0.2
        metadata = rng.choice(_METADATA)
        meant = rng.choice(target.allowed)
        who = meant if rng.random() < 0.8 else rng.choice(list(target.channels))
        many = rng.choice((0, 1, 1, 2, 5)) if target.method.client_streaming else 1
        chance = rng.random()
        built = None
        if chance < 0.75:
            built = await self._built(target, meant)
        if built is None:
            raw = [self._messages.request(target.method.input_type) for _ in range(many)]
            return _Sending(who, "made up", raw, None, timeout_s, metadata, cut)
        raw = [built.SerializeToString()]
        if chance < 0.3:
            return _Sending(who, "right", raw, built, timeout_s, metadata, cut)
        altered, mutant = self._mutants.of(target.method.input_type, raw[0])
        # Before what is wrong comes what is right, so that something is under way.
        raw = [*raw, mutant][-max(1, many) :]
        return _Sending(who, f"altered: {altered}", raw, None, timeout_s, metadata, cut)

    async def _built(self, target: Target, who: str) -> Any:
        """A right request of `who`; None where nobody has said how, or nothing is left for it."""
        if target.right is None:
            return None
        try:
            return await target.right.build(self._world, who)
        except IndexError:
            return None

    async def _make(self, target: Target, sending: _Sending) -> None:
        began = time.monotonic()
        ended = await self._ended(target, sending)
        over = time.monotonic()
        code, took_s = ended.code, over - began
        findings = self.findings
        findings.calls += 1
        findings.outcomes[target.name][code] += 1
        findings.sorts[sending.sort][code] += 1
        self._learn(target, sending, ended)
        if ended.own_race:
            findings.own_races += 1
        elif code in NEVER:
            self._blame(target, sending, f"{code.name} {ended.details!r}")
        if sending.timeout_s == AMPLE_S and not target.endless:
            findings.answered_s[target.name].append(took_s)
            if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                await self._ask_again(target, sending)
        late_s = took_s - self._ends_within_s(target, sending)
        if late_s > LATE_S:
            late_s -= await self._own_lateness.at_most(began, over)
        findings.late_s.append(max(0.0, late_s))
        if late_s > LATE_S:
            self._blame(target, sending, f"{code.name} {late_s:.2f} s late")

    async def _ended(self, target: Target, sending: _Sending) -> _Ended:
        try:
            async with asyncio.timeout(sending.timeout_s + HUNG_S):
                return await self._outcome(target, sending)
        except TimeoutError:
            self._blame(target, sending, "never ended")
            return _Ended(grpc.StatusCode.CANCELLED)

    async def _ask_again(self, target: Target, sending: _Sending) -> None:
        """See whether a request that had ample time is ever answered: on a busy machine it may be
        this process that was late."""
        self.findings.asked_again += 1
        for _ in range(AGAIN):
            ended = await self._ended(target, sending)
            if ended.code is not grpc.StatusCode.DEADLINE_EXCEEDED:
                return
        self._blame(target, sending, f"no answer, {1 + AGAIN} times")

    def _ends_within_s(self, target: Target, sending: _Sending) -> float:
        return min(sending.timeout_s, WATCHED_S) if target.endless else sending.timeout_s

    def _blame(self, target: Target, sending: _Sending, what: str) -> None:
        sent = b"|".join(sending.requests)
        self.findings.faults.append(
            f"{target.server} {target.path} as {sending.who}: {what}; within {sending.timeout_s} s,"
            f" {sending.sort}, {len(sent)} bytes; metadata {str(sending.metadata)[:80]};"
            f" sent {sent[:300].hex()}"
        )

    def _learn(self, target: Target, sending: _Sending, ended: _Ended) -> None:
        replies = [GetMessageClass(target.method.output_type).FromString(r) for r in ended.replies]
        for reply in replies:
            self._known.learn(reply)
        if sending.right is None or not replies or target.right is None:
            return
        self.findings.right[target.name] += 1
        if sending.who in target.allowed:
            for reply in replies:
                target.right.learn(self._world, sending.who, sending.right, reply)

    async def _outcome(self, target: Target, sending: _Sending) -> _Ended:
        channel: Any = self._rng.choice(target.channels[sending.who])
        replies: list[bytes] = []
        options = {
            "timeout": self._ends_within_s(target, sending),
            "metadata": sending.metadata,
        }
        method = target.method
        try:
            if not method.server_streaming:
                call = channel.unary_unary(target.path)(sending.requests[0], **options)
                return _Ended(grpc.StatusCode.OK, "", [await call])
            if method.client_streaming:
                call = channel.stream_stream(target.path)(self._sent(sending.requests), **options)
            else:
                call = channel.unary_stream(target.path)(sending.requests[0], **options)
            async for raw in call:
                replies.append(raw)
                if sending.cut or target.endless or len(replies) == MOST_REPLIES:
                    call.cancel()
                    break
            code, details = await call.code(), await call.details() or ""
            # Of a stream that this process left, or read to its end, grpc.aio tells no more.
            return _Ended(code, details, replies, _sounds_made_up(code, details))
        except grpc.aio.AioRpcError as refused:
            own_race = made_by_caller(refused)
            return _Ended(refused.code(), refused.details() or "", replies, own_race)
        except asyncio.CancelledError:
            # Ours of the call, unless this task is to end.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return _Ended(grpc.StatusCode.CANCELLED, "", replies)

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

"""TransferService: a stream of transfers, answered as they commit."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from command_service.personal.vault import Vault
from command_service.posting import metrics
from command_service.posting.engine import PostingEngine
from command_service.refusals import Refusals
from command_service.servicers.fields import MAX_BATCH
from command_service.servicers.intake import TransferIntake
from command_service.servicers.stream_flow import Portion, StreamFlow
from command_service.servicers.transfer_replies import fill_outcomes
from paycore.domain.errors import PaycoreError, Reason, invalid_field
from paycore.domain.transfers import Command, Refused
from paycore.runtime.clock import Clock
from paycore.runtime.server import Call
from paycore.runtime.untold import tell_of_fault
from paycore.v1 import transfer_service_pb2 as pb2

METHOD = "paycore.v1.TransferService/StreamTransfers"

OUTCOMES_A_MESSAGE = 500
"""Most outcomes in one reply: the longest of them together stay below the 4 MiB of a message."""

RETRY_AFTER_MS = 200
"""Wait suggested to callers for whom there is no place for another stream, in milliseconds."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Bounds of the streams of one process."""

    window: int = 2_000
    """Commands of one stream, from their reading until their outcomes are sent; at least
    MAX_BATCH."""
    intakes: int = 16
    """Messages of one stream that are being checked at the same time."""
    per_client: int = 16
    """Streams of one client."""
    in_all: int = 64
    """Streams of all clients."""
    patience_s: float = 10.0
    """How long a command waits at most for its batch, in seconds; then it is not posted."""


class StreamServicer:
    """Feeds the engine from streams, no faster than their callers take the outcomes."""

    def __init__(
        self,
        engine: PostingEngine,
        vault: Vault,
        intake: TransferIntake,
        clock: Clock,
        limits: StreamLimits | None = None,
        refusals: Refusals | None = None,
    ) -> None:
        """`refusals` are told of what is refused without ending the stream."""
        self._refusals = refusals
        self._engine = engine
        self._vault = vault
        self._intake = intake
        self._clock = clock
        self._limits = limits or StreamLimits()
        self._open: Counter[str] = Counter()

    async def StreamTransfers(  # noqa: N802  # named by the contract
        self, requests: AsyncIterator[pb2.StreamTransfersRequest], call: Call
    ) -> AsyncIterator[pb2.StreamTransfersResponse]:
        """Answer each transfer as it commits.

        What is wrong with one transfer is its outcome; a message of the wrong size ends the stream,
        once what came before it is answered.
        """
        flow = StreamFlow(self._limits.window)
        with self._place(call.client):
            reading = asyncio.create_task(self._read(requests, call, flow), name="stream-reader")
            reading.add_done_callback(lambda _: flow.wake())
            told = False
            try:
                while flow.held or not reading.done():
                    answered = flow.take(OUTCOMES_A_MESSAGE)
                    if answered:
                        reply = pb2.StreamTransfersResponse()
                        outcomes = [outcome for _, outcome in answered]
                        await self._vault.reveal(outcomes, call.deadline_s)
                        fill_outcomes(
                            reply.outcomes,
                            outcomes,
                            [key for key, _ in answered],
                        )
                        yield reply
                        flow.give_back(len(answered))
                    elif _failed(reading):
                        break
                    else:
                        await flow.changed()
                told = True
                await reading
            finally:
                reading.cancel()
                try:
                    # Is cancelled once more where the transport breaks while this waits.
                    await asyncio.gather(reading, return_exceptions=True)
                finally:
                    if not told:
                        reading.add_done_callback(tell_of_fault)
                    flow.give_back(flow.held)

    async def _read(
        self, requests: AsyncIterator[pb2.StreamTransfersRequest], call: Call, flow: StreamFlow
    ) -> None:
        refusal: PaycoreError | None = None
        places = asyncio.Semaphore(self._limits.intakes)
        async with asyncio.TaskGroup() as intakes:
            try:
                async for request in requests:
                    count = len(request.transfers)
                    if not 1 <= count <= MAX_BATCH:
                        raise invalid_field("transfers", f"1 to {MAX_BATCH} transfers, not {count}")
                    await flow.hold(count)
                    await places.acquire()
                    # Apart, so that a proof that is being checked does not hold up the others.
                    intake = intakes.create_task(self._take_in(request, call, flow))
                    intake.add_done_callback(lambda _: places.release())
            except PaycoreError as error:
                # Not out of the group, which would cancel what was read before.
                refusal = error
        if refusal is not None:
            raise refusal

    async def _take_in(
        self, request: pb2.StreamTransfersRequest, call: Call, flow: StreamFlow
    ) -> None:
        items = request.transfers
        deadline_s = min(call.deadline_s, self._clock.monotonic_s() + self._limits.patience_s)
        try:
            intake = await self._intake.take_in(items, call.client, deadline_s)
            ready, denied = await self._vault.prepare(intake.commands, deadline_s)
        except PaycoreError as error:
            self._refuse([item.idempotency_key for item in items], error, flow)
            return
        for index, refused in intake.refused:
            if self._refusals is not None:
                self._refusals.of_item(METHOD, call.client, refused.error, items[index])
            flow.answer(items[index].idempotency_key, refused)
        for at, refusal in denied.items():
            self._refuse([ready[at].key], refusal, flow)
        kept = [command for at, command in enumerate(ready) if at not in denied]
        await self._enqueue(kept, call.client, flow, deadline_s)

    async def _enqueue(
        self, commands: Sequence[Command], client: str, flow: StreamFlow, deadline_s: float
    ) -> None:
        """Queue `commands` as there is room for them."""
        try:
            while commands:
                room = await self._engine.room(client, deadline_s)
                keys = [command.key for command in commands[:room]]
                told = None
                if self._refusals is not None:
                    told = partial(self._refusals.of_item, METHOD, client)
                self._engine.enqueue(commands[:room], Portion(flow, keys, deadline_s, told))
                commands = commands[room:]
        except PaycoreError as error:
            self._refuse([command.key for command in commands], error, flow)
        finally:
            self._intake.let_go(commands)

    def _refuse(self, keys: Sequence[str], error: PaycoreError, flow: StreamFlow) -> None:
        refused = Refused(error)
        metrics.count([refused] * len(keys))
        for key in keys:
            flow.answer(key, refused)

    @contextmanager
    def _place(self, client: str) -> Iterator[None]:
        """One stream's place. Raises PaycoreError OVERLOADED when there is none."""
        limits = self._limits
        if self._open[client] >= limits.per_client or self._open.total() >= limits.in_all:
            raise PaycoreError(
                Reason.OVERLOADED,
                f"no more streams of {client}",
                {"limit": str(limits.per_client)},
                retry_after_ms=RETRY_AFTER_MS,
            )
        self._open[client] += 1
        try:
            yield
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]


def _failed(reading: asyncio.Task[None]) -> bool:
    """Whether reading ended in a way that leaves commands without an outcome."""
    if not reading.done():
        return False
    return reading.cancelled() or not isinstance(reading.exception(), PaycoreError | None)

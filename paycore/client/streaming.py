"""A stream of orders and outcomes that outlives its connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import Any

import grpc

from paycore.client import requests
from paycore.client.core import Core
from paycore.client.errors import ClientError, TimedOutError, UnreachableError
from paycore.client.failures import failure_of
from paycore.client.model import RefusedItem, TransferOrder, TransferReceipt
from paycore.client.retries import Attempts, Patience
from paycore.client.unanswered import Unanswered
from paycore.v1 import transfer_service_pb2 as pb2

DEFAULT_WINDOW = 2_000
"""Orders without an outcome at a time."""

ORDERS_A_MESSAGE = 500
"""Most orders in one message: the longest of them together stay below the 4 MiB of a message."""

CLOSING_WITHIN_S = 1.0

Outcome = TransferReceipt | RefusedItem


class TransferStream:
    """Sends orders as they come and gives outcomes as they arrive, over one call after the other.

    Keys make that safe: an order that was posted when its connection broke answers with what it
    did.
    """

    def __init__(
        self,
        core: Core,
        open_call: Callable[[], Any],
        diagnose: Callable[[ClientError], Awaitable[ClientError]],
        window: int,
    ) -> None:
        """`open_call` begins a call of gRPC's, `diagnose` looks closer at why one failed."""
        if window < 1:
            raise ValueError(f"the window must be at least 1, not {window}")
        self._core = core
        self._open_call = open_call
        self._diagnose = diagnose
        self._window = window
        self._unanswered = Unanswered(self._new_attempts)
        self._attempts = self._new_attempts()

    async def outcomes(self, orders: AsyncIterable[TransferOrder]) -> AsyncGenerator[Outcome, None]:
        """An outcome for each of `orders`, as it is known; then what `orders` raised, if anything.

        Raises ClientError when nothing could be learnt within the total time; its `unanswered`
        holds the keys of orders that have no outcome.
        """
        unanswered = self._unanswered
        feeding = asyncio.create_task(self._feed(orders), name="orders")
        feeding.add_done_callback(lambda _: unanswered.changed.set())
        try:
            while not feeding.done() or unanswered:
                if not unanswered:
                    await unanswered.changed.wait()
                    continue
                try:
                    async with contextlib.aclosing(self._over_one_call(feeding)) as arriving:
                        async for outcome in arriving:
                            yield outcome
                except ClientError as error:
                    failure = await self._diagnose(error)
                else:
                    continue
                unanswered.reopen(failure)
                pause_s = self._attempts.pause_or_none_s(failure)
                if pause_s is None:
                    failure.unanswered = unanswered.keys()
                    failure.outcome_unknown = bool(failure.unanswered)
                    raise failure
                await asyncio.sleep(pause_s)
            await feeding
        finally:
            unanswered.close()
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    def _new_attempts(self) -> Attempts:
        return self._core.attempts(Patience.BULK)

    async def _feed(self, orders: AsyncIterable[TransferOrder]) -> None:
        unanswered = self._unanswered
        async for order in orders:
            key = self._core.key(order.idempotency_key)
            while len(unanswered) >= self._window:
                unanswered.shrunk.clear()
                await unanswered.shrunk.wait()
            unanswered.add(key, requests.submit_transfer(order, key, None))

    async def _over_one_call(self, feeding: asyncio.Task[None]) -> AsyncGenerator[Outcome, None]:
        """Outcomes until there is nothing more to ask. Raises ClientError when the call breaks."""
        call = self._open_call()
        sending = asyncio.create_task(self._send(call), name="sending")
        reading = asyncio.ensure_future(call.read())
        try:
            while not feeding.done() or self._unanswered:
                await self._until_read(reading, feeding)
                if not reading.done():
                    continue
                for message in _received(reading).outcomes:
                    outcome = self._unanswered.settle(message)
                    if outcome is not None:
                        yield outcome
                self._attempts = self._new_attempts()
                reading = asyncio.ensure_future(call.read())
            # All is known: how the call ends does not matter any more.
            with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
                await call.done_writing()
                await asyncio.wait({reading}, timeout=CLOSING_WITHIN_S)
        finally:
            sending.cancel()
            reading.cancel()
            call.cancel()
            await asyncio.gather(sending, reading, return_exceptions=True)

    async def _until_read(self, reading: asyncio.Future[Any], feeding: asyncio.Task[None]) -> None:
        """Wait for a message, or for the end of the orders when nothing else is awaited.

        Raises TimedOutError when outcomes are awaited and none arrives within an attempt's time.
        """
        awaited = self._unanswered.awaited
        wanted = {reading} if feeding.done() else {reading, feeding}
        done, _ = await asyncio.wait(
            wanted, timeout=self._attempts.timeout_s(), return_when=asyncio.FIRST_COMPLETED
        )
        if not done and awaited:
            raise TimedOutError(
                grpc.StatusCode.DEADLINE_EXCEEDED, "no outcome within the time of an attempt"
            )
        if not done:
            self._attempts = self._new_attempts()

    async def _send(self, call: Any) -> None:
        """Send what is ready, all of it in one message. Ends by being cancelled."""
        unanswered = self._unanswered
        while True:
            ready = unanswered.take(ORDERS_A_MESSAGE)
            if not ready:
                unanswered.changed.clear()
                await unanswered.changed.wait()
                continue
            try:
                await call.write(pb2.StreamTransfersRequest(transfers=ready))
            except (grpc.RpcError, asyncio.InvalidStateError):
                # The call is over; reading tells how, and what was taken goes out again.
                return


def _received(reading: asyncio.Future[Any]) -> pb2.StreamTransfersResponse:
    """The message that was read. Raises ClientError when there was none."""
    try:
        message = reading.result()
    except grpc.RpcError as error:
        raise failure_of(error) from error
    if message is grpc.aio.EOF:  # type: ignore[attr-defined]  # stubs lack it
        raise UnreachableError(grpc.StatusCode.UNAVAILABLE, "the stream ended early")
    received: pb2.StreamTransfersResponse = message
    return received

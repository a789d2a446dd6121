"""Load over StreamTransfers: requests made beforehand, outcomes counted and checked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from paycore.v1 import transfer_service_pb2
from tests.bench.errors import BenchError
from tests.bench.load import Taken
from tests.bench.orders import Request

STREAM_TRANSFERS = "/paycore.v1.TransferService/StreamTransfers"
ANSWERED_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Message:
    """One serialized request, and the keys in it."""

    raw: bytes
    keys: tuple[str, ...]


def message_of(transfers: Sequence[Request]) -> Message:
    """A StreamTransfersRequest of `transfers`."""
    request = transfer_service_pb2.StreamTransfersRequest(transfers=transfers)
    return Message(request.SerializeToString(), tuple(one.idempotency_key for one in transfers))


async def stream_all(
    channels: Sequence[grpc.aio.Channel], streams: Sequence[Sequence[Message]], window: int
) -> Taken:
    """Send each of `streams` over a stream of its own, with at most `window` transfers of it
    unanswered.

    Latencies are those of single transfers. Raises BenchError where one was not posted.
    """
    taken = Taken()
    began = time.perf_counter()
    try:
        async with asyncio.TaskGroup() as group:
            for number, messages in enumerate(streams):
                channel = channels[number % len(channels)]
                group.create_task(_stream(channel, messages, window, taken))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    taken.elapsed_s = time.perf_counter() - began
    return taken


async def _stream(channel: Any, messages: Sequence[Message], window: int, taken: Taken) -> None:
    call = channel.stream_stream(STREAM_TRANSFERS)()
    sent_s: dict[str, float] = {}
    room = asyncio.Event()

    async def send() -> None:
        for message in messages:
            while sent_s and len(sent_s) + len(message.keys) > window:
                room.clear()
                await room.wait()
            sent_s.update(dict.fromkeys(message.keys, time.perf_counter()))
            await call.write(message.raw)
        await call.done_writing()

    sending = asyncio.create_task(send())
    try:
        async with asyncio.timeout(None) as patience:
            loop = asyncio.get_running_loop()
            while (raw := await call.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]  # stubs lack it
                patience.reschedule(loop.time() + ANSWERED_WITHIN_S)
                now_s = time.perf_counter()
                reply = transfer_service_pb2.StreamTransfersResponse.FromString(raw)
                for outcome in reply.outcomes:
                    if not outcome.HasField("transfer"):
                        raise BenchError(f"a transfer was not posted: {outcome.error.message}")
                    taken.latencies_s.append(now_s - sent_s.pop(outcome.idempotency_key))
                room.set()
        await sending
    except (grpc.RpcError, TimeoutError) as error:
        raise BenchError(f"a stream broke: {error}") from error
    finally:
        sending.cancel()
        call.cancel()
    if sent_s:
        raise BenchError(f"{len(sent_s)} transfers have no outcome")

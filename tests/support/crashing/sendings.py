"""Ways to send commands: one, many in a call, over a stream. Each attempt is noted."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import grpc

from paycore.v1 import transfer_service_pb2 as pb2
from tests.support.callers import Caller
from tests.support.crashing import heard
from tests.support.crashing.history import History, Operation, Reply, Verdict

ATTEMPT_S = 8.0
"""Longest that one attempt takes."""

Call = Callable[[Caller], Any]
"""Sends a request by a caller, gives the call to be awaited."""


class Sending(ABC):
    """One call, to be made until all of it is answered. Its operations have begun."""

    def __init__(self, history: History, operations: Sequence[Operation]) -> None:
        self.operations = operations
        self._history = history

    @property
    def answered(self) -> bool:
        """Whether there is nothing to be gained by another attempt: its client knows all that it
        asked, or was refused."""
        return all(
            one.answer is not None or (one.replies and one.replies[-1].verdict is Verdict.REFUSED)
            for one in self.operations
        )

    @abstractmethod
    async def attempt(self, caller: Caller) -> None:
        """Make the call once; what it brought is in the history then."""

    def _note(self, operation: Operation, reply: Reply) -> None:
        self._history.note(operation, reply)

    def _note_failure(self, began_s: float, failure: grpc.RpcError) -> None:
        reply = heard.failed(began_s, failure)
        for operation in self.operations:
            self._note(operation, reply)


class One(Sending):
    """One command in a call of its own."""

    def __init__(self, history: History, operation: Operation, call: Call) -> None:
        super().__init__(history, [operation])
        self._call = call

    async def attempt(self, caller: Caller) -> None:
        began_s = time.monotonic()
        try:
            reply = await self._call(caller)
        except grpc.RpcError as failure:
            self._note_failure(began_s, failure)
        except asyncio.CancelledError:
            self._note(self.operations[0], _given_up(began_s))
            raise
        else:
            self._note(self.operations[0], heard.posted(began_s, reply))


class Many(Sending):
    """Several commands in one call, an outcome each."""

    def __init__(
        self,
        history: History,
        operations: Sequence[Operation],
        requests: Sequence[pb2.SubmitTransferRequest],
    ) -> None:
        super().__init__(history, operations)
        self._requests = requests

    async def attempt(self, caller: Caller) -> None:
        began_s = time.monotonic()
        request = pb2.SubmitTransfersRequest(transfers=self._requests)
        try:
            reply = await caller.transfers.SubmitTransfers(request, timeout=ATTEMPT_S)
        except grpc.RpcError as failure:
            self._note_failure(began_s, failure)
        except asyncio.CancelledError:
            given_up = _given_up(began_s)
            for operation in self.operations:
                self._note(operation, given_up)
            raise
        else:
            for operation, found in zip(self.operations, reply.outcomes, strict=True):
                assert found.idempotency_key == operation.key
                self._note(operation, heard.outcome(began_s, found))


class Streamed(Many):
    """Several commands over a stream, in three messages or more."""

    async def attempt(self, caller: Caller) -> None:
        began_s = time.monotonic()
        open_now = {operation.key: operation for operation in self.operations}
        stream = caller.transfers.StreamTransfers(timeout=ATTEMPT_S)
        try:
            size = max(1, len(self._requests) // 3)
            for at in range(0, len(self._requests), size):
                await stream.write(
                    pb2.StreamTransfersRequest(transfers=self._requests[at : at + size])
                )
            await stream.done_writing()
            async for reply in stream:
                for found in reply.outcomes:
                    operation = open_now.pop(found.idempotency_key)
                    self._note(operation, heard.outcome(began_s, found))
        except (grpc.RpcError, asyncio.InvalidStateError):
            # The second is what grpc.aio says where the call has ended before the write.
            pass
        finally:
            given_up = _given_up(began_s)
            for operation in open_now.values():
                self._note(operation, given_up)
            stream.cancel()


def _given_up(began_s: float) -> Reply:
    return Reply(began_s, time.monotonic(), Verdict.UNHEARD, reason="GIVEN_UP")


async def look_up(caller: Caller, operation: Operation, within_s: float) -> None:
    """Ask what the operation's key has, until there is an answer. Raises grpc.RpcError."""
    request = pb2.LookupTransferRequest(idempotency_key=operation.key)
    give_up_s = time.monotonic() + within_s
    while operation.looked_up is None:
        began_s = time.monotonic()
        try:
            reply = await caller.transfers.LookupTransfer(request, timeout=ATTEMPT_S)
        except grpc.RpcError as failure:
            if heard.is_absent(failure):
                operation.looked_up = heard.absent(began_s)
            elif time.monotonic() > give_up_s:
                raise
            else:
                await asyncio.sleep(0.2)
        else:
            operation.looked_up = heard.looked_up(began_s, list(reply.outcomes))

"""A watch that outlives its connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import grpc

from paycore.client import replies
from paycore.client.core import Core
from paycore.client.errors import ClientError, TimedOutError, UnreachableError
from paycore.client.failures import failure_of
from paycore.client.model import AccountName, Transfer
from paycore.client.requests import account_field
from paycore.client.retries import Patience
from paycore.runtime.account_names import ACCOUNT
from paycore.v1 import history_service_pb2 as pb

SILENT_AFTER_S = 15.0
"""The service says something every few seconds: after so long without a word the call is over."""


class WatchState:
    """How far a watch has come: decisions without I/O, for both clients."""

    def __init__(self, core: Core, account: AccountName, start: str, *, declines: bool) -> None:
        self._core = core
        self._account = account
        self._declines = declines
        self._attempts = core.attempts(Patience.ORDINARY)
        self._heard = True
        self.resume_token = start

    def request(self) -> pb.WatchTransfersRequest:
        """What to send now."""
        self._heard = False
        return pb.WatchTransfersRequest(
            **account_field(ACCOUNT, self._account),
            start_position=self.resume_token,
            include_declines=self._declines,
        )

    def take(self, message: pb.WatchTransfersResponse) -> Transfer | None:
        """The transfer in `message`, None in a heartbeat."""
        if not self._heard:
            self._heard = True
            self._attempts = self._core.attempts(Patience.ORDINARY)
        transfer = replies.transfer(message.transfer) if message.HasField("transfer") else None
        self.resume_token = message.resume_token
        return transfer

    def pause_s(self, failure: ClientError | None) -> float:
        """How long to wait before going on after `failure`, or after an end that was none.

        Raises `failure` where it is not one to pass by itself, or nothing was heard for long.
        """
        if failure is None:
            if self._heard:
                return 0.0
            failure = UnreachableError(grpc.StatusCode.UNAVAILABLE, "the watch ended early")
        return self._attempts.pause_s(failure)


class TransferWatch:
    """An account's transfers as they are posted: iterate over it.

    `resume_token` is that of the last transfer given, or of a later sign of life: start from it to
    go on after that one, in another process too.
    """

    def __init__(
        self,
        state: WatchState,
        open_call: Callable[[pb.WatchTransfersRequest], Any],
        diagnose: Callable[[ClientError], Awaitable[ClientError]],
    ) -> None:
        """`open_call` begins a call of gRPC's, `diagnose` looks closer at why one failed."""
        self._state = state
        self._open_call = open_call
        self._diagnose = diagnose
        self._transfers = self._watch()

    @property
    def resume_token(self) -> str:
        """Where to go on from; as given at the start until something was heard."""
        return self._state.resume_token

    def __aiter__(self) -> AsyncGenerator[Transfer, None]:
        return self._transfers

    async def aclose(self) -> None:
        """End the watch."""
        await self._transfers.aclose()

    async def _watch(self) -> AsyncGenerator[Transfer, None]:
        while True:
            failure: ClientError | None = None
            call = self._open_call(self._state.request())
            try:
                while (message := await _read(call)) is not None:
                    transfer = self._state.take(message)
                    if transfer is not None:
                        yield transfer
            except ClientError as error:
                failure = error
            finally:
                call.cancel()
            if failure is not None:
                failure = await self._diagnose(failure)
            await asyncio.sleep(self._state.pause_s(failure))


async def _read(call: Any) -> pb.WatchTransfersResponse | None:
    """The next message, None where the stream ended well. Raises ClientError."""
    try:
        async with asyncio.timeout(SILENT_AFTER_S):
            message = await call.read()
    except TimeoutError:
        raise TimedOutError(
            grpc.StatusCode.DEADLINE_EXCEEDED, "nothing was heard of the watch"
        ) from None
    except grpc.RpcError as error:
        raise failure_of(error) from error
    if message is grpc.aio.EOF:  # type: ignore[attr-defined]  # stubs lack it
        return None
    received: pb.WatchTransfersResponse = message
    return received

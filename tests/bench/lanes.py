"""Connections to a server whose processes share one port, and calls of raw bytes over them."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, cast

import grpc

from paycore.runtime.channel import SEPARATE_CONNECTION, open_channel
from paycore.runtime.tls import TlsFiles
from tests.bench.errors import BenchError

CALL_TIMEOUT_S = 20.0

RawCall = Callable[[bytes], Awaitable[bytes]]


class Lanes:
    """Several connections, taken in turn: the kernel gives each to one process for good."""

    def __init__(
        self, target: str, tls: TlsFiles | None, connections: int, *, service: str = "command"
    ) -> None:
        """Plain text where `tls` is None."""
        self._channels = [
            open_channel(target, tls, SEPARATE_CONNECTION, service=service)
            for _ in range(connections)
        ]

    async def __aenter__(self) -> Self:
        for channel in self._channels:
            await channel.channel_ready()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for channel in self._channels:
            await channel.close(None)

    def call(self, method: str) -> RawCall:
        """A function that sends a serialized request to `method` (`/package.Service/Method`).

        It raises BenchError where the call fails.
        """
        stubs = itertools.cycle(
            [channel.unary_unary(method, None, None) for channel in self._channels]
        )

        async def send(request: bytes) -> bytes:
            try:
                return cast("bytes", await next(stubs)(request, timeout=CALL_TIMEOUT_S))
            except grpc.aio.AioRpcError as error:
                raise BenchError(f"{method}: {error.code().name} {error.details()}") from error

        return send

    @property
    def channels(self) -> list[grpc.aio.Channel]:
        return self._channels

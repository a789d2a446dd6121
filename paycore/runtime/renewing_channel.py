"""Channels that outlive the certificate they began with.

gRPC takes a caller's certificate when a channel is made, and would show it at every reconnection
until the process ends. So a new channel takes over when the files have changed.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

import grpc

from paycore.runtime.certificates import Certificates, Material
from paycore.runtime.clock import Clock

RETIRED_FOR_S = 60.0
"""How long calls of a channel that was replaced may go on, in seconds: longer than those with
deadlines do. A stream is cut then, and is begun again by whoever reads it."""

C = TypeVar("C", grpc.aio.Channel, grpc.Channel)


class _Method(Generic[C]):
    """One method on whichever channel is the newest when it is called."""

    def __init__(self, current: Callable[[], C], prepare: Callable[[C], Any]) -> None:
        self._current: Callable[[], C] = current
        self._prepare: Callable[[C], Any] = prepare
        self._channel: C | None = None
        self._call: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        channel = self._current()
        if channel is not self._channel:
            self._call = self._prepare(channel)
            self._channel = channel
        return self._call(*args, **kwargs)


class RenewingChannel(grpc.aio.Channel):
    """An async channel. Belongs to one event loop."""

    def __init__(
        self,
        certificates: Certificates,
        connect: Callable[[Material], grpc.aio.Channel],
        clock: Clock,
    ) -> None:
        """`connect` makes the channel of one certificate."""
        self._certificates = certificates
        self._connect = connect
        self._clock = clock
        self._material = certificates.current()
        self._channel = connect(self._material)
        self._retired: deque[tuple[float, grpc.aio.Channel]] = deque()
        self._closing: set[asyncio.Task[None]] = set()

    def _current(self) -> grpc.aio.Channel:
        if self._certificates.current() is not self._material or self._retired:
            self._renew()
        return self._channel

    def _renew(self) -> None:
        material, now_s = self._certificates.current(), self._clock.monotonic_s()
        if material is not self._material:
            self._retired.append((now_s + RETIRED_FOR_S, self._channel))
            self._material, self._channel = material, self._connect(material)
        while self._retired and self._retired[0][0] <= now_s:
            closing = asyncio.ensure_future(self._retired.popleft()[1].close(None))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close(self, grace: float | None = None) -> None:
        channels = [self._channel, *(channel for _, channel in self._retired)]
        self._retired.clear()
        await asyncio.gather(*self._closing, *(channel.close(grace) for channel in channels))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._current().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._current().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._current().channel_ready()

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        return _Method(self._current, lambda channel: channel.unary_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        return _Method(self._current, lambda channel: channel.unary_stream(*args, **kwargs))

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        return _Method(self._current, lambda channel: channel.stream_unary(*args, **kwargs))

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        return _Method(self._current, lambda channel: channel.stream_stream(*args, **kwargs))


class RenewingBlockingChannel(grpc.Channel):
    """A channel for callers without an event loop. Threads may share it.

    Its methods are called with a request, and not as futures.
    """

    def __init__(
        self, certificates: Certificates, connect: Callable[[Material], grpc.Channel], clock: Clock
    ) -> None:
        """`connect` makes the channel of one certificate."""
        self._certificates = certificates
        self._connect = connect
        self._clock = clock
        self._lock = threading.Lock()
        self._material = certificates.current()
        self._channel = connect(self._material)
        self._retired: deque[tuple[float, grpc.Channel]] = deque()

    def _current(self) -> grpc.Channel:
        if self._certificates.current() is not self._material or self._retired:
            self._renew()
        return self._channel

    def _renew(self) -> None:
        with self._lock:
            material, now_s = self._certificates.current(), self._clock.monotonic_s()
            if material is not self._material:
                self._retired.append((now_s + RETIRED_FOR_S, self._channel))
                self._material, self._channel = material, self._connect(material)
            while self._retired and self._retired[0][0] <= now_s:
                self._retired.popleft()[1].close()

    def close(self) -> None:
        with self._lock:
            for _, channel in self._retired:
                channel.close()
            self._retired.clear()
            self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def subscribe(self, callback: Any, try_to_connect: bool = False) -> None:
        self._current().subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Any) -> None:
        self._current().unsubscribe(callback)

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        return _Method(self._current, lambda channel: channel.unary_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        return _Method(self._current, lambda channel: channel.unary_stream(*args, **kwargs))

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        return _Method(self._current, lambda channel: channel.stream_unary(*args, **kwargs))

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        return _Method(self._current, lambda channel: channel.stream_stream(*args, **kwargs))

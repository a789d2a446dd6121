"""What the proxy does to connections, as both ends see it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.support.tcp_proxy import TcpProxy

LONG = b"0123456789" * 1_000


class Echo:
    """A server that sends back what it gets, and remembers it."""

    def __init__(self) -> None:
        self.heard = b""
        self.ends = 0
        """Connections that ended."""
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(1 << 16):
                self.heard += chunk
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            self.ends += 1
            self.ended.set()
            writer.close()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[TcpProxy]:
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    async with server, TcpProxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
        yield proxy


class Ends:
    """A client of the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, text: bytes) -> bytes:
        self.writer.write(text)
        async with asyncio.timeout(30):
            return await self.reader.readexactly(len(text))


@pytest.fixture
async def ends(proxy: TcpProxy) -> AsyncIterator[Ends]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    yield Ends(reader, writer)
    writer.close()


async def test_bytes_pass_both_ways(ends: Ends) -> None:
    assert await ends.ask(LONG) == LONG


async def test_latency_is_either_ways(proxy: TcpProxy, ends: Ends) -> None:
    proxy.latency_s = 0.1
    began_s = time.monotonic()
    assert await ends.ask(b"late") == b"late"
    assert time.monotonic() - began_s >= 0.2


async def test_a_narrow_link_takes_its_time(proxy: TcpProxy, ends: Ends) -> None:
    proxy.bytes_per_s = 20_000
    began_s = time.monotonic()
    assert await ends.ask(LONG) == LONG
    # The echo begins to come back while the rest still goes, and the last drop waits for nobody.
    assert time.monotonic() - began_s >= 0.8 * len(LONG) / proxy.bytes_per_s


async def test_a_cut_is_a_reset(proxy: TcpProxy, ends: Ends, echo: Echo) -> None:
    await ends.ask(b"there")
    await proxy.cut()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(ends.reader.read(), 30)
    await asyncio.wait_for(echo.ended.wait(), 30)
    assert proxy.connections == 0


async def test_what_vanishes_is_heard_by_nobody_and_no_end_is_told(
    proxy: TcpProxy, ends: Ends, echo: Echo
) -> None:
    await ends.ask(b"there")
    proxy.vanishing = True
    ends.writer.write(b"gone")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ends.reader.read(1), 0.3)
    assert echo.heard == b"there"
    assert (echo.ends, proxy.lost) == (0, 4)


async def test_a_connection_that_has_lost_bytes_does_not_go_on(
    proxy: TcpProxy, ends: Ends, echo: Echo
) -> None:
    await ends.ask(b"there")
    proxy.vanishing = True
    ends.writer.write(b"gone")
    while not proxy.lost:
        await asyncio.sleep(0.01)
    await proxy.heal()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(ends.reader.read(), 30)
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await Ends(reader, writer).ask(b"again") == b"again"
    assert echo.heard == b"thereagain"
    writer.close()


async def test_one_that_has_lost_none_goes_on(proxy: TcpProxy, ends: Ends) -> None:
    await ends.ask(b"there")
    proxy.vanishing = True
    await proxy.heal()
    assert await ends.ask(b"still") == b"still"


async def test_a_message_is_torn_in_the_middle(proxy: TcpProxy, ends: Ends, echo: Echo) -> None:
    proxy.tearing = 1
    ends.writer.write(b"abcdefgh")
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(ends.reader.read(), 30)
    await asyncio.wait_for(echo.ended.wait(), 30)
    assert (echo.heard, proxy.torn, proxy.tearing) == (b"abcd", 1, 0)


async def test_whoever_closes_is_closed_without_a_reset(proxy: TcpProxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await Ends(reader, writer).ask(b"bye") == b"bye"
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 30) == b""
    writer.close()

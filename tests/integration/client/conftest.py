"""A scripted server and a client of it, on the loopback."""

import socket
from collections.abc import AsyncIterator

import pytest

from paycore.client import PaycoreClient
from tests.integration.client.scripted import Script, serving


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def target(script: Script) -> AsyncIterator[str]:
    async with serving(script) as address:
        yield address


@pytest.fixture
async def client(target: str) -> AsyncIterator[PaycoreClient]:
    async with PaycoreClient(target, query_target=target, signing_target=target) as made:
        yield made


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port

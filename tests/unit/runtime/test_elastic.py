"""Elasticsearch is trusted by the authority that the settings name, and by no other."""

from __future__ import annotations

import asyncio
import base64
import datetime
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from elastic_transport import TlsError
from pydantic import SecretStr

from deploy.local.certificates import ensure_certificates
from paycore.runtime.elastic import ElasticAddress, open_client
from paycore.runtime.settings import ElasticsearchSettings
from projector.settings import ProjectorSettings
from projector.sinks.catalogue import elastic_settings

REPLY = (
    b"HTTP/1.1 200 OK\r\nx-elastic-product: Elasticsearch\r\ncontent-type: application/json\r\n"
    b"content-length: 2\r\nconnection: close\r\n\r\n{}"
)


@dataclass
class Node:
    """Answers each request over TLS with an empty object."""

    ca: Path
    url: str = ""
    requests: list[bytes] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(REPLY)
        await writer.drain()
        writer.close()


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    files = ensure_certificates(tmp_path, datetime.datetime.now(datetime.UTC))["command"]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    node = Node(files.ca)
    server = await asyncio.start_server(node.answer, "127.0.0.1", 0, ssl=context)
    node.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield node
    server.close()
    await server.wait_closed()


async def ask(address: ElasticAddress) -> None:
    client = open_client(address, connections=1, request_timeout_s=5.0)
    try:
        await client.info()
    finally:
        await client.close()


def projector(url: str, ca: Path | None) -> ProjectorSettings:
    return ProjectorSettings(
        environment="local",
        insecure=True,
        postgres_dsn=SecretStr("postgresql://127.0.0.1/paycore"),
        signing_target="127.0.0.1:1",
        elasticsearch_url=url,
        elasticsearch_user="paycore",
        elasticsearch_password=SecretStr("secret"),
        elasticsearch_ca=ca,
    )


async def test_the_projector_trusts_the_authority_it_is_told_of(node: Node) -> None:
    await ask(elastic_settings(projector(node.url, node.ca)).address)
    (request,) = node.requests
    assert b"Basic " + base64.b64encode(b"paycore:secret") in request


async def test_an_authority_that_nobody_named_is_not_trusted(node: Node) -> None:
    with pytest.raises(TlsError):
        await ask(elastic_settings(projector(node.url, None)).address)
    assert node.requests == []


async def test_without_a_user_no_credentials_are_sent(node: Node) -> None:
    await ask(ElasticAddress(node.url, "", "", node.ca))
    assert b"authorization" not in node.requests[0].lower()


def test_the_password_does_not_print() -> None:
    settings: ElasticsearchSettings = projector("https://index:9200", None)
    assert "secret" not in repr(ElasticAddress.of(settings))

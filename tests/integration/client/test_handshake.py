"""Certificates that can never match end a call at once; a server that is away does not."""

import asyncio
import datetime
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.certificates import ensure_certificates, issue
from paycore.client import PaycoreClient, Timeouts, TlsFiles
from paycore.client.blocking import BlockingPaycoreClient
from paycore.client.errors import HandshakeError
from tests.integration.client.samples import ORDER, submitted
from tests.integration.client.scripted import Script, serving

Files = dict[str, TlsFiles]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return ensure_certificates(tmp_path_factory.mktemp("ours"), datetime.datetime.now(datetime.UTC))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("foreign")
    return ensure_certificates(folder, datetime.datetime.now(datetime.UTC))


@pytest.fixture
async def secure_target(script: Script, ours: Files) -> AsyncIterator[str]:
    script.play(submitted())
    async with serving(script, ours["command"]) as target:
        yield target


async def test_a_handshake_may_take_longer_than_the_pause_between_attempts(
    secure_target: str, ours: Files
) -> None:
    """As on a machine whose cores are all busy: it is waited for, not begun again and again."""
    host, _, port = secure_target.rpartition(":")

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        onward_reader, onward_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, onward_writer), pump(onward_reader, writer))

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as slow:
        target = f"127.0.0.1:{slow.sockets[0].getsockname()[1]}"
        timeouts = Timeouts(ordinary_s=2.0)
        async with PaycoreClient(target, tls=ours["app"], timeouts=timeouts) as client:
            assert (await client.submit_transfer(ORDER)).transfer.id == 99


async def fails_fast(target: str, tls: TlsFiles) -> HandshakeError:
    began = time.monotonic()
    async with PaycoreClient(target, tls=tls) as client:
        with pytest.raises(HandshakeError) as caught:
            await client.submit_transfer(ORDER)
    assert time.monotonic() - began < 3
    assert not caught.value.outcome_unknown
    return caught.value


async def test_matching_certificates_let_a_call_through(secure_target: str, ours: Files) -> None:
    async with PaycoreClient(secure_target, tls=ours["app"]) as client:
        assert client.identity == "app"
        assert (await client.submit_transfer(ORDER)).transfer.id == 99


async def test_a_server_of_another_authority_is_not_trusted(
    secure_target: str, ours: Files, foreign: Files
) -> None:
    app = ours["app"]
    error = await fails_fast(secure_target, TlsFiles(app.certificate, app.key, foreign["app"].ca))
    assert "certificate is not trusted" in str(error)


async def test_a_certificate_of_another_authority_is_not_accepted(
    secure_target: str, ours: Files, foreign: Files, script: Script
) -> None:
    app = foreign["app"]
    error = await fails_fast(secure_target, TlsFiles(app.certificate, app.key, ours["app"].ca))
    assert "does not accept this client's certificate" in str(error)
    assert script.requests == []


async def test_an_expired_certificate_is_seen_before_connecting(ours: Files) -> None:
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    expired = issue(Path(ours["app"].certificate).parent, "expired", now - 2 * day, now - day)
    with pytest.raises(HandshakeError, match="valid from"):
        PaycoreClient("127.0.0.1:1", tls=expired)


@pytest.mark.parametrize("posing", ["signing", "query"])
async def test_another_service_cannot_pose_as_the_command_service(
    script: Script, ours: Files, posing: str
) -> None:
    script.play(submitted())
    async with serving(script, ours[posing]) as target:
        error = await fails_fast(target, ours["app"])
    assert "certificate is not trusted" in str(error)
    assert "command.paycore" in str(error)
    assert script.requests == []


async def test_another_service_cannot_pose_for_the_blocking_client_either(
    script: Script, ours: Files
) -> None:
    script.play(submitted())

    def call(target: str) -> None:
        with BlockingPaycoreClient.connect(target, tls=ours["app"]) as client:
            client.submit_transfer(ORDER)

    async with serving(script, ours["signing"]) as target:
        with pytest.raises(HandshakeError, match=r"command\.paycore"):
            await asyncio.to_thread(call, target)
    assert script.requests == []


async def test_a_plain_text_server_is_not_spoken_to(script: Script, ours: Files) -> None:
    script.play(submitted())
    async with serving(script) as target:
        error = await fails_fast(target, ours["app"])
    assert "TLS handshake failed" in str(error)


async def test_a_key_of_another_certificate_is_seen_before_connecting(ours: Files) -> None:
    mixed = TlsFiles(ours["app"].certificate, ours["analyst"].key, ours["app"].ca)
    with pytest.raises(HandshakeError, match="cannot be used"):
        PaycoreClient("127.0.0.1:1", tls=mixed)


async def test_missing_files_are_seen_before_connecting(ours: Files, tmp_path: Path) -> None:
    missing = TlsFiles(tmp_path / "none.pem", ours["app"].key, ours["app"].ca)
    with pytest.raises(HandshakeError, match=r"none\.pem"):
        PaycoreClient("127.0.0.1:1", tls=missing)


async def test_the_blocking_client_fails_fast_too(
    secure_target: str, ours: Files, foreign: Files
) -> None:
    app = foreign["app"]
    tls = TlsFiles(app.certificate, app.key, ours["app"].ca)

    def call() -> None:
        with BlockingPaycoreClient.connect(secure_target, tls=tls) as client:
            client.submit_transfer(ORDER)

    began = time.monotonic()
    with pytest.raises(HandshakeError):
        await asyncio.to_thread(call)
    assert time.monotonic() - began < 3

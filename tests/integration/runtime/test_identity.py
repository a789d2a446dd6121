"""One real server, and callers whose certificates come, go and lie."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from paycore.domain.errors import PaycoreError
from paycore.runtime import certificates as certificates_module
from paycore.runtime import renewing_channel
from paycore.runtime.channel import SEPARATE_CONNECTION, open_blocking_channel, open_channel
from paycore.runtime.errors import from_rpc_error
from paycore.runtime.server import Server
from paycore.runtime.settings import ServiceSettings
from paycore.runtime.tls import SPIFFE_PREFIX, TlsFiles
from tests.support.clocks import ShiftedClock
from tests.support.forgery import CALLS, HOUR, SERVES, Authority, Leaf, around_now, self_signed

OLD, NEW = Authority.new("old"), Authority.new("new")
TIMEOUT_S = 5.0
CHECK = "/grpc.health.v1.Health/Check"


@asynccontextmanager
async def server(
    files: TlsFiles, *, connection_age_s: float = 600.0, clock: ShiftedClock | None = None
) -> AsyncIterator[str]:
    """Health and reflection, as every service has them; yields host:port."""
    settings = ServiceSettings(
        environment="local",
        listen="127.0.0.1:0",
        tls_certificate=files.certificate,
        tls_key=files.key,
        tls_ca=files.ca,
        reflection=True,
        connection_age_s=connection_age_s,
    )
    running = Server(settings, clock=clock)
    port = await running.start()
    await running.set_serving(True)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await running.stop(0)


async def check(channel: grpc.aio.Channel, timeout: float = TIMEOUT_S) -> str:
    """OK, or the code of the refusal."""
    try:
        await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=timeout
        )
    except grpc.aio.AioRpcError as error:
        return str(error.code().name)
    return "OK"


async def check_once(target: str, files: TlsFiles) -> str:
    async with open_channel(target, files, SEPARATE_CONNECTION, service="command") as channel:
        return await check(channel)


async def shake_hands(target: str, leaf: Leaf, trusted: bytes) -> PaycoreError | grpc.StatusCode:
    """How a caller that shows `leaf`, good or bad, is refused."""
    credentials = grpc.ssl_channel_credentials(trusted, leaf.key_pem, leaf.pem)
    options = (*SEPARATE_CONNECTION, ("grpc.ssl_target_name_override", "command.paycore"))
    async with grpc.aio.secure_channel(target, credentials, options) as channel:
        untyped: Any = channel
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await untyped.unary_unary(CHECK)(b"", timeout=TIMEOUT_S)
    return from_rpc_error(caught.value) or caught.value.code()


@pytest.fixture
def served(tmp_path: Path) -> TlsFiles:
    return OLD.issue_service("command").write(tmp_path / "command", OLD.pem)


@pytest.fixture
def caller(tmp_path: Path) -> TlsFiles:
    return OLD.issue_caller("app").write(tmp_path / "app", OLD.pem)


async def test_an_authority_is_replaced_without_a_restart(
    served: TlsFiles, caller: TlsFiles, tmp_path: Path
) -> None:
    renewed = NEW.issue_caller("app").write(tmp_path / "renewed", NEW.pem)
    both = OLD.pem + NEW.pem
    async with server(served) as target:
        assert await check_once(target, caller) == "OK"
        assert await check_once(target, renewed) == "UNAVAILABLE"

        # Both are trusted; the server still shows what the old one signed.
        served.ca.write_bytes(both)
        caller.ca.write_bytes(both)
        renewed.ca.write_bytes(both)
        assert await check_once(target, caller) == "OK"
        assert await check_once(target, renewed) == "OK"

        NEW.issue_service("command").write(served.ca.parent, both)
        assert await check_once(target, caller) == "OK"
        assert await check_once(target, renewed) == "OK"

        # The old one is retired.
        served.ca.write_bytes(NEW.pem)
        assert await check_once(target, caller) == "UNAVAILABLE"
        assert await check_once(target, renewed) == "OK"


async def test_half_written_files_change_nothing_for_callers(
    served: TlsFiles, caller: TlsFiles
) -> None:
    renewed = OLD.issue_service("command")
    async with server(served) as target:
        served.key.write_bytes(renewed.key_pem)
        assert await check_once(target, caller) == "OK"
        served.certificate.write_bytes(renewed.pem[:200])
        assert await check_once(target, caller) == "OK"
        served.certificate.write_bytes(renewed.pem)
        assert await check_once(target, caller) == "OK"


async def test_a_connection_that_outlives_its_certificate_is_refused(
    served: TlsFiles, tmp_path: Path
) -> None:
    short = OLD.issue_caller("app", around_now(HOUR, timedelta(seconds=2)))
    async with server(served) as target:
        files = short.write(tmp_path / "short", OLD.pem)
        async with open_channel(target, files, service="command") as channel:
            assert await check(channel) == "OK"
            await asyncio.sleep(2.1)
            assert await check(channel) == "UNAUTHENTICATED"
        refusal = await shake_hands(target, short, OLD.pem)
        assert refusal is grpc.StatusCode.UNAVAILABLE


async def test_a_channel_uses_its_renewed_certificate(
    served: TlsFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls never fail: the certificate is renewed before its end, while the channel is open."""
    monkeypatch.setattr(certificates_module, "LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(renewing_channel, "RETIRED_FOR_S", 0.3)
    files = OLD.issue_caller("app", around_now(HOUR, timedelta(seconds=2))).write(
        tmp_path / "short", OLD.pem
    )
    async with (
        server(served) as target,
        open_channel(target, files, service="command") as channel,
    ):
        assert await check(channel) == "OK"
        OLD.issue_caller("app").write(files.ca.parent, OLD.pem)
        ends_s = time.monotonic() + 2.2
        while time.monotonic() < ends_s:
            assert await check(channel) == "OK"
            await asyncio.sleep(0.05)


async def test_a_blocking_channel_uses_its_renewed_certificate(
    served: TlsFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates_module, "LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(renewing_channel, "RETIRED_FOR_S", 0.3)
    files = OLD.issue_caller("app", around_now(HOUR, timedelta(seconds=2))).write(
        tmp_path / "short", OLD.pem
    )

    def calls(target: str) -> None:
        with open_blocking_channel(target, files, service="command") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
            OLD.issue_caller("app").write(files.ca.parent, OLD.pem)
            ends_s = time.monotonic() + 2.2
            while time.monotonic() < ends_s:
                stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
                time.sleep(0.05)

    async with server(served) as target:
        await asyncio.to_thread(calls, target)


async def test_connections_end_in_bounded_time_and_no_call_fails(
    served: TlsFiles, caller: TlsFiles
) -> None:
    """A caller whose authority is not trusted any more is out once its connection has aged."""
    async with (
        server(served, connection_age_s=1.0) as target,
        open_channel(target, caller, SEPARATE_CONNECTION, service="command") as channel,
    ):
        until_s = time.monotonic() + 1.5
        while time.monotonic() < until_s:
            assert await check(channel) == "OK"
            await asyncio.sleep(0.02)
        served.ca.write_bytes(NEW.pem)
        while await check(channel) == "OK":
            assert time.monotonic() < until_s + 20
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "posing",
    [
        OLD.issue(["spiffe://paycore/signing"], ["signing.paycore", "localhost"]),
        OLD.issue_caller("command"),
        OLD.issue(["spiffe://paycore/command"], ["localhost", "command.elsewhere"]),
        OLD.issue(["spiffe://paycore/command"], ["command.paycore"], usages=[CALLS]),
    ],
    ids=["another service", "no DNS name", "other DNS names", "for calls only"],
)
async def test_a_server_with_another_certificate_is_refused_at_once(
    tmp_path: Path, caller: TlsFiles, posing: Leaf
) -> None:
    """Whatever the authority signed for others, nobody poses as the command service with it."""
    server_side = grpc.ssl_server_credentials([(posing.key_pem, posing.pem)], OLD.pem, True)
    posing_server = grpc.aio.server()
    port = posing_server.add_secure_port("127.0.0.1:0", server_side)
    await posing_server.start()
    began_s = time.monotonic()
    async with open_channel(f"127.0.0.1:{port}", caller, service="command") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=60
            )
    await posing_server.stop(0)
    assert time.monotonic() - began_s < 20
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    told = caught.value.details() or ""
    assert "Hostname Verification Check failed" in told or "CERTIFICATE_VERIFY_FAILED" in told


NO_IDENTITY = {
    "no names at all": OLD.issue(),
    "a common name only": OLD.issue(common_name="spiffe://paycore/app"),
    "no URI": OLD.issue(dns=["app"]),
    "a DNS name that reads like an id": OLD.issue(dns=["spiffe://paycore/app"]),
    "two ids": OLD.issue(["spiffe://paycore/app", "spiffe://paycore/operator"]),
    "an id twice": OLD.issue(["spiffe://paycore/app"] * 2),
    "an id and another URI": OLD.issue(["spiffe://paycore/app", "https://paycore/app"]),
    "another trust domain": OLD.issue(["spiffe://elsewhere/app"]),
    "a longer trust domain": OLD.issue(["spiffe://paycore.elsewhere/app"]),
    "an empty name": OLD.issue([SPIFFE_PREFIX]),
    "a path": OLD.issue(["spiffe://paycore/app/x"]),
    "a long name": OLD.issue([SPIFFE_PREFIX + "x" * 2_000]),
}


@pytest.mark.parametrize("leaf", NO_IDENTITY.values(), ids=NO_IDENTITY.keys())
async def test_a_certificate_that_names_no_caller_is_refused_and_told_why(
    served: TlsFiles, leaf: Leaf
) -> None:
    async with server(served) as target:
        refusal = await shake_hands(target, leaf, OLD.pem)
    assert isinstance(refusal, PaycoreError)
    assert refusal.reason == "UNAUTHENTICATED"
    assert refusal.metadata["why"] in refusal.message


NOT_TRUSTED = {
    "of another authority": NEW.issue_caller("app"),
    "signed by itself": self_signed("app"),
    "signed by a caller": Authority(
        (caller_that_signs := OLD.issue_caller("app")).certificate, caller_that_signs.key
    ).issue_caller("operator"),
    "of an authority of the same name": Authority.new("old").issue_caller("app"),
    "expired": OLD.issue_caller("app", around_now(2 * HOUR, -HOUR)),
    "not begun": OLD.issue_caller("app", around_now(-HOUR, 2 * HOUR)),
    "for servers only": OLD.issue(["spiffe://paycore/app"], usages=[SERVES]),
}


@pytest.mark.parametrize("leaf", NOT_TRUSTED.values(), ids=NOT_TRUSTED.keys())
async def test_a_certificate_that_proves_nothing_ends_the_handshake(
    served: TlsFiles, leaf: Leaf
) -> None:
    async with server(served) as target:
        assert await shake_hands(target, leaf, OLD.pem) is grpc.StatusCode.UNAVAILABLE


async def test_a_server_does_not_start_with_a_certificate_that_has_ended(tmp_path: Path) -> None:
    leaf = OLD.issue_service("command", around_now(2 * HOUR, -HOUR))
    with pytest.raises(ValueError, match="valid from"):
        async with server(leaf.write(tmp_path / "late", OLD.pem)):
            pytest.fail("it started")

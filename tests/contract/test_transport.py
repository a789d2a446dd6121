"""What the transport refuses, before any of our code, and what no message may do to a process."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local import LocalStack
from deploy.local.certificates import ensure_certificates, issue
from paycore.runtime.channel import MAX_MESSAGE_BYTES, SEPARATE_CONNECTION, open_channel
from paycore.runtime.tls import TlsFiles
from tests.contract.conftest import World
from tests.support.callers import TIMEOUT_S, Caller, payment, raw, refusal_of

SUBMIT = "/paycore.v1.TransferService/SubmitTransfer"
SERVICES = ("command", "query", "signing", "projector")


def _ago(days: int) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)


def _without_certificate(files: TlsFiles, _: Path) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(root_certificates=files.ca.read_bytes())


def _expired(files: TlsFiles, folder: Path) -> grpc.ChannelCredentials:
    for name in ("ca.pem", "ca.key"):
        (folder / name).write_bytes((files.ca.parent / name).read_bytes())
    return issue(folder, "app", _ago(30), _ago(1)).channel_credentials()


def _not_yet_valid(files: TlsFiles, folder: Path) -> grpc.ChannelCredentials:
    for name in ("ca.pem", "ca.key"):
        (folder / name).write_bytes((files.ca.parent / name).read_bytes())
    return issue(folder, "app", _ago(-1), _ago(-30)).channel_credentials()


def _of_another_authority(files: TlsFiles, folder: Path) -> grpc.ChannelCredentials:
    foreign = ensure_certificates(folder, datetime.datetime.now(datetime.UTC))["app"]
    return grpc.ssl_channel_credentials(
        root_certificates=files.ca.read_bytes(),
        private_key=foreign.key.read_bytes(),
        certificate_chain=foreign.certificate.read_bytes(),
    )


@pytest.mark.parametrize(
    "credentials", [_without_certificate, _expired, _not_yet_valid, _of_another_authority]
)
@pytest.mark.parametrize("service", SERVICES)
async def test_without_a_good_certificate_nobody_gets_in(
    services: LocalStack,
    tmp_path: Path,
    service: str,
    credentials: Callable[[TlsFiles, Path], grpc.ChannelCredentials],
) -> None:
    endpoints = services.endpoints
    async with grpc.aio.secure_channel(
        endpoints.target(service), credentials(endpoints.tls["app"], tmp_path), SEPARATE_CONNECTION
    ) as channel:
        call = raw(channel, "/grpc.health.v1.Health/Check")
        refusal = await refusal_of(call(b"", timeout=5))
    assert refusal is not None
    assert (refusal.code, refusal.error) == (grpc.StatusCode.UNAVAILABLE, None)


@pytest.mark.parametrize("service", SERVICES)
async def test_plain_text_is_not_spoken(services: LocalStack, service: str) -> None:
    target = services.endpoints.target(service)
    async with grpc.aio.insecure_channel(target, SEPARATE_CONNECTION) as channel:
        call = raw(channel, "/grpc.health.v1.Health/Check")
        refusal = await refusal_of(call(b"", timeout=5))
    assert refusal is not None
    assert refusal.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


async def test_a_message_over_4_mib_is_refused_and_the_process_goes_on(
    app: Caller, world: World
) -> None:
    call = raw(app.channels["command"], SUBMIT)
    refusal = await refusal_of(call(bytes(MAX_MESSAGE_BYTES + 1), timeout=TIMEOUT_S))
    assert refusal is not None
    assert (refusal.code, refusal.error) == (grpc.StatusCode.RESOURCE_EXHAUSTED, None)
    await app.submit(payment(world.payer, world.payee, 1))


@pytest.mark.parametrize(
    "garbage",
    [b"\xff" * 64, b"\x0a\x05ab", b"\x0a\x02\xff\xfe", b"\x2a" * 10_000, b"\x2a\x80" * 5_000],
    ids=["no tags", "cut short", "not UTF-8", "deep nesting", "endless lengths"],
)
async def test_bytes_that_do_not_decode_are_a_bad_argument(app: Caller, garbage: bytes) -> None:
    call = raw(app.channels["command"], SUBMIT)
    refusal = await refusal_of(call(garbage, timeout=TIMEOUT_S))
    assert refusal is not None
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


async def test_a_method_that_does_not_exist_is_unimplemented(app: Caller) -> None:
    call = raw(app.channels["command"], "/paycore.v1.TransferService/EmptyTheBank")
    refusal = await refusal_of(call(b"", timeout=TIMEOUT_S))
    assert refusal is not None
    assert refusal.code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("identity", ["app", "stranger"])
async def test_health_is_open_to_whoever_has_a_certificate(
    services: LocalStack, service: str, identity: str
) -> None:
    endpoints = services.endpoints
    channel = open_channel(endpoints.target(service), endpoints.tls[identity], SEPARATE_CONNECTION)
    async with channel:
        stub = health_pb2_grpc.HealthStub(channel)
        reply = await stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
    assert reply.status == health_pb2.HealthCheckResponse.SERVING

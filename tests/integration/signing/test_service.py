"""The signing process behind mTLS, asked by the command service's own client."""

from __future__ import annotations

import asyncio
import signal
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from command_service.admission.signer import CALL_TIMEOUT_S, SignerClient
from command_service.admission.signer_link import TRIPS_AFTER
from deploy.local import Endpoints
from paycore.client.sealing import SealingKey
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.pin import Pin
from paycore.domain.step_up import (
    payment_digest,
)
from paycore.runtime.channel import open_channel
from paycore.runtime.clock import SystemClock
from paycore.runtime.errors import from_rpc_error
from paycore.signing.v1 import signing_service_pb2 as pb
from paycore.signing.v1 import signing_service_pb2_grpc as pb_grpc
from tests.integration.signing.process import SigningProcess, free_port
from tests.integration.signing.served import Connect, enrol, in_time, refusal, refusal_of
from tests.integration.signing.signer import PIN, WRONG, payment
from tests.integration.signing.test_secrecy import CANARY, assert_clean

SEALED_PIN = ("sealed_pin.key_id", "sealed_pin.ciphertext")
DEVICE_KEY = ("key.algorithm", "key.public_key", "key.signature")


async def test_an_enrolled_pin_earns_a_verified_authorization(
    client: SignerClient, connect: Connect, sealing: SealingKey
) -> None:
    await enrol(connect("app"), sealing, "user-1", PIN)
    intent = payment()
    proof = sealing.for_payment(PIN, intent)
    authorization = await client.authorize("user-1", intent, proof, in_time())
    assert authorization.user_id == "user-1"
    assert authorization.digest == payment_digest(intent)
    assert await client.authorize("user-1", intent, proof, in_time()) == authorization


async def test_refusals_arrive_with_their_figures(
    client: SignerClient, connect: Connect, sealing: SealingKey
) -> None:
    await enrol(connect("app"), sealing, "user-1", PIN)
    errors = [await refusal_of(client, sealing, WRONG) for _ in range(6)]
    assert [error.reason for error in errors] == [Reason.PIN_INCORRECT] * 5 + [Reason.PIN_LOCKED]
    assert [error.metadata["attempts_left"] for error in errors] == list("432100")
    assert errors[-1].metadata["locked_until"].endswith("Z")


async def test_a_refusal_of_the_proof_is_passed_on(
    client: SignerClient, sealing: SealingKey
) -> None:
    proof = sealing.for_payment(PIN, payment())
    intent = payment()
    assert (await refusal(client, intent, proof)).reason is Reason.AUTHORIZATION_INVALID
    stale = await refusal(client, intent._replace(signed_at_us=1), proof)
    assert stale.reason is Reason.AUTHORIZATION_EXPIRED
    malformed = await refusal(client, intent, proof._replace(key_id=""))
    assert malformed.reason is Reason.INVALID_FIELD
    assert malformed.violations[0].field == "step_up.sealed_pin.key_id"


async def test_a_question_that_is_malformed_otherwise_is_our_own_fault(
    client: SignerClient, sealing: SealingKey
) -> None:
    intent = payment()._replace(currency="eur")
    refused = await refusal(client, intent, sealing.for_payment(PIN, intent))
    assert refused.reason is Reason.INTERNAL


async def test_only_the_command_service_may_ask(connect: Connect, sealing: SealingKey) -> None:
    for identity in ("app", "loadtest", "operator", "analyst", "stranger"):
        stub = pb_grpc.SigningServiceStub(connect(identity))
        with pytest.raises(grpc.RpcError) as raised:
            await stub.Authorize(pb.AuthorizeRequest(user_id="user-1"), timeout=10)
        error = from_rpc_error(raised.value)
        assert error is not None, identity
        assert error.reason is Reason.NOT_PERMITTED, identity


async def test_a_weak_pin_and_a_second_pin_are_refused_over_the_wire(
    connect: Connect, sealing: SealingKey
) -> None:
    channel = connect("app")
    reasons = []
    for pin in (Pin("1234"), PIN, WRONG):
        try:
            await enrol(channel, sealing, "user-1", pin)
            reasons.append("ENROLLED")
        except grpc.RpcError as error:
            refused = from_rpc_error(error)
            assert refused is not None
            reasons.append(refused.reason.value)
    assert reasons == ["PIN_TOO_WEAK", "ENROLLED", "PIN_ALREADY_ENROLLED"]


EMPTY = {
    "EnrollPin": (pb.EnrollPinRequest, {"user_id", *SEALED_PIN}),
    "ChangePin": (
        pb.ChangePinRequest,
        {
            "user_id",
            "challenge",
            "old_pin.key_id",
            "old_pin.ciphertext",
            "new_pin.key_id",
            "new_pin.ciphertext",
        },
    ),
    "ResetPin": (pb.ResetPinRequest, {"user_id", "reason"}),
    "UnlockPin": (pb.UnlockPinRequest, {"user_id", "reason"}),
    "CreateChallenge": (pb.CreateChallengeRequest, {"user_id"}),
    "EnrollDevice": (pb.EnrollDeviceRequest, {"user_id", "challenge", *DEVICE_KEY, *SEALED_PIN}),
    "VouchForDevice": (
        pb.VouchForDeviceRequest,
        {"user_id", "challenge", "reason", *DEVICE_KEY},
    ),
    "ListDevices": (pb.ListDevicesRequest, {"user_id"}),
    "RevokeDevice": (pb.RevokeDeviceRequest, {"user_id", "device_id", "reason"}),
}


async def test_an_empty_request_names_every_field(connect: Connect) -> None:
    for method, (request, fields) in EMPTY.items():
        identity = "app" if method in ("EnrollPin", "ChangePin", "EnrollDevice") else "operator"
        call = getattr(pb_grpc.SigningServiceStub(connect(identity)), method)
        with pytest.raises(grpc.RpcError) as raised:
            await call(request(), timeout=10)
        error = from_rpc_error(raised.value)
        assert error is not None
        assert {violation.field for violation in error.violations} == fields, method


async def test_an_unreachable_signer_is_unavailable_with_a_time_to_retry(
    endpoints: Endpoints, sealing: SealingKey
) -> None:
    nowhere, tls = f"127.0.0.1:{free_port()}", endpoints.tls["command"]
    async with open_channel(nowhere, tls, service="signing") as channel:
        error = await refusal_of(SignerClient(channel, SystemClock()), sealing, PIN)
    assert error.reason is Reason.SIGNER_UNAVAILABLE
    assert error.retry_after_ms


async def test_a_signer_that_hangs_is_given_up_within_the_callers_deadline(
    endpoints: Endpoints, service: SigningProcess, client: SignerClient, sealing: SealingKey
) -> None:
    assert service.process is not None
    service.process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        hanging = await refusal_of(client, sealing, PIN, seconds=0.5)
        assert hanging.reason is Reason.SIGNER_UNAVAILABLE
        assert time.monotonic() - began < CALL_TIMEOUT_S
        late = await refusal_of(client, sealing, PIN, seconds=-1)
        assert late.reason is Reason.DEADLINE_EXCEEDED
    finally:
        service.process.send_signal(signal.SIGCONT)


async def test_a_restarted_service_keeps_its_keys_and_counts(
    service: SigningProcess, client: SignerClient, connect: Connect, sealing: SealingKey
) -> None:
    await enrol(connect("app"), sealing, "user-1", PIN)
    assert (await refusal_of(client, sealing, WRONG)).metadata == {"attempts_left": "4"}
    assert await service.stop() == 0
    for _ in range(TRIPS_AFTER):
        assert (await refusal_of(client, sealing, WRONG)).reason is Reason.SIGNER_UNAVAILABLE
    await service.start()
    refused = await refusal_of(client, sealing, WRONG)
    while refused.reason is Reason.SIGNER_UNAVAILABLE:
        # The channel has not noticed yet that the service is back.
        await asyncio.sleep(0.1)
        refused = await refusal_of(client, sealing, WRONG)
    assert refused.metadata == {"attempts_left": "3"}


async def test_without_its_database_the_signer_waits_and_says_why(
    endpoints: Endpoints, tmp_path: Path, service: SigningProcess
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    unreachable = f"postgresql://paycore_signing:x@127.0.0.1:{free_port()}/paycore"
    waiting = SigningProcess(endpoints, unreachable, elsewhere)
    process = await waiting.launch()
    async with asyncio.timeout(120):
        while "the database cannot be asked" not in waiting.log.read_text():
            assert process.returncode is None
            await asyncio.sleep(0.05)
    assert await waiting.stop() == 0


async def test_a_wrong_passphrase_is_a_clear_refusal_to_start(service: SigningProcess) -> None:
    assert await service.stop() == 0
    content = service.keystore.read_bytes()
    service.passphrase.write_text("another passphrase")
    process = await service.launch()
    assert await asyncio.wait_for(process.wait(), 120) == 2
    last = service.log.read_text().splitlines()[-1]
    assert "the passphrase is wrong or the file is damaged" in last
    assert "another passphrase" not in service.log.read_text()
    assert service.keystore.read_bytes() == content


async def test_metrics_count_verdicts_and_nothing_logs_a_pin(
    service: SigningProcess, client: SignerClient, connect: Connect, sealing: SealingKey
) -> None:
    await enrol(connect("app"), sealing, "user-1", CANARY)
    intent = payment()
    await client.authorize("user-1", intent, sealing.for_payment(CANARY, intent), in_time())
    assert (await refusal_of(client, sealing, WRONG)).reason is Reason.PIN_INCORRECT
    text = await asyncio.to_thread(
        lambda: urllib.request.urlopen(f"http://{service.metrics}/metrics").read().decode()
    )
    assert 'paycore_signing_verdicts_total{outcome="AUTHORIZED"} 1.0' in text
    assert 'paycore_signing_verdicts_total{outcome="PIN_INCORRECT"} 1.0' in text
    assert 'paycore_signing_enrolments_total{outcome="ENROLLED"} 1.0' in text
    assert "paycore_signing_hashing_depth 0.0" in text
    assert await service.stop() == 0
    log = service.log.read_text()
    assert "serving" in log
    assert "user-1" not in log
    assert_clean(log + text)


class Relay(pb_grpc.SigningServiceServicer):
    """Passes calls on to the service and alters questions and answers, as a forger in between."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = pb_grpc.SigningServiceStub(channel)
        self.streams = True
        self.alter_question: Callable[[pb.AuthorizeRequest], object] = lambda _: None
        self.alter: Callable[[pb.Authorization], object] = lambda _: None

    async def Authorize(  # noqa: N802
        self, request: pb.AuthorizeRequest, context: object
    ) -> pb.AuthorizeResponse:
        self.alter_question(request)
        reply = await self._stub.Authorize(request, timeout=10)
        self.alter(reply.authorization)
        return reply

    async def AuthorizeStream(  # noqa: N802
        self, requests: AsyncIterator[pb.AuthorizeStreamRequest], context: Any
    ) -> AsyncIterator[pb.AuthorizeStreamResponse]:
        """Each question is a call behind it."""
        if not self.streams:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        async for request in requests:
            for question in request.questions:
                reply = await self.Authorize(question.request, context)
                answer = pb.AuthorizeAnswer(
                    number=question.number, authorization=reply.authorization
                )
                yield pb.AuthorizeStreamResponse(answers=[answer])

    async def GetPublicKeys(  # noqa: N802
        self, request: pb.GetPublicKeysRequest, context: object
    ) -> pb.GetPublicKeysResponse:
        return await self._stub.GetPublicKeys(request, timeout=10)


@pytest.fixture(params=["over a stream", "call by call"])
async def relay(
    connect: Connect, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[Relay, SignerClient]]:
    """A relay, which knows of streams or does not, and a client that takes it for the service."""
    relay = Relay(connect("command"))  # type: ignore[abstract]  # it is asked these three
    relay.streams = request.param == "over a stream"
    server = grpc.aio.server()
    pb_grpc.add_SigningServiceServicer_to_server(relay, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with open_channel(f"127.0.0.1:{port}", None, service="signing") as channel:
        yield relay, SignerClient(channel, SystemClock())
    await server.stop(None)


def _later(time: Timestamp) -> None:
    time.FromMicroseconds(time.ToMicroseconds() + 1)


ALTERATIONS: dict[str, Callable[[pb.Authorization], object]] = {
    "user": lambda message: setattr(message, "user_id", "user-2"),
    "digest": lambda message: setattr(message, "digest", bytes(32)),
    "id": lambda message: setattr(message, "id", message.id + 1),
    "issue time": lambda message: _later(message.issue_time),
    "expiry time": lambda message: _later(message.expire_time),
    "method": lambda message: setattr(message, "method", 0),
    "unknown key": lambda message: setattr(message, "key_id", "authorization-unknown"),
    "signature": lambda message: setattr(message, "signature", bytes(64)),
    "no signature": lambda message: setattr(message, "signature", b""),
}


async def test_an_altered_authorization_is_not_trusted(
    relay: tuple[Relay, SignerClient], connect: Connect, sealing: SealingKey
) -> None:
    between, client = relay
    await enrol(connect("app"), sealing, "user-1", PIN)
    intent = payment()
    assert await client.authorize("user-1", intent, sealing.for_payment(PIN, intent), in_time())
    for name, alteration in ALTERATIONS.items():
        between.alter = alteration
        refused = await refusal_of(client, sealing, PIN)
        assert refused.reason is Reason.AUTHORIZATION_INVALID, name


async def test_a_genuine_authorization_of_another_payment_or_user_is_not_trusted(
    relay: tuple[Relay, SignerClient], connect: Connect, sealing: SealingKey
) -> None:
    between, client = relay
    await enrol(connect("app"), sealing, "user-1", PIN)
    genuine: list[pb.Authorization] = []

    def keep(message: pb.Authorization) -> None:
        genuine.append(pb.Authorization.FromString(message.SerializeToString()))

    between.alter = keep
    intent = payment()
    await client.authorize("user-1", intent, sealing.for_payment(PIN, intent), in_time())

    between.alter = lambda message: message.CopyFrom(genuine[0])
    other_payment = await refusal_of(client, sealing, PIN)
    assert other_payment.reason is Reason.AUTHORIZATION_INVALID

    between.alter = keep
    between.alter_question = lambda request: setattr(request, "user_id", "user-1")
    intent = payment()
    with pytest.raises(PaycoreError) as other_user:
        await client.authorize("user-2", intent, sealing.for_payment(PIN, intent), in_time())
    assert genuine[-1].user_id == "user-1"
    assert other_user.value.reason is Reason.AUTHORIZATION_INVALID

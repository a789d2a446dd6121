"""Payments, groups, PINs and devices over the wire, with keys in a file and in a token."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_service.admission.signer import SignerClient
from deploy.local import Endpoints
from paycore.client.sealing import SealingKey
from paycore.domain.device_key import DeviceAlgorithm
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.step_up import (
    AuthorizationMethod,
    GroupIntent,
    GroupLeg,
    intent_digest,
)
from paycore.runtime.channel import open_channel
from paycore.runtime.clock import SystemClock
from paycore.signing.v1 import signing_service_pb2 as pb
from paycore.signing.v1 import signing_service_pb2_grpc as pb_grpc
from paycore.v1 import step_up_pb2
from tests.integration.signing.process import SigningProcess
from tests.integration.signing.served import Connect, enrol, enrolled_device, in_time, refusal_of
from tests.integration.signing.signer import PIN, WRONG, payment
from tests.support import softhsm


async def test_a_device_and_a_group_are_authorized_over_the_wire(
    client: SignerClient, connect: Connect, sealing: SealingKey
) -> None:
    await enrol(connect("app"), sealing, "user-1", PIN)
    device = await enrolled_device(connect("app"), sealing, "user-1", DeviceAlgorithm.P256)
    single = payment()
    leg = GroupLeg("TRANSFER", 11, 12, 5, "EUR")
    group = GroupIntent("app", "payroll-1", 11, (leg, leg), single.signed_at_us)
    for intent in (single, group):
        approved = device.approve("user-1", intent)
        authorization = await client.authorize("user-1", intent, approved.proof, in_time())
        assert authorization.method is AuthorizationMethod.DEVICE
        assert authorization.digest == intent_digest(intent)

    operator = pb_grpc.SigningServiceStub(connect("operator"))
    asked = pb.ListDevicesRequest(user_id="user-1")
    (listed,) = (await operator.ListDevices(asked, timeout=10)).devices
    assert (listed.device_id, listed.algorithm) == (device.device_id, pb.DEVICE_ALGORITHM_P256)
    assert (listed.vouched_by, listed.HasField("enroll_time")) == ("", True)
    await operator.RevokeDevice(
        pb.RevokeDeviceRequest(user_id="user-1", device_id=device.device_id, reason="lost"),
        timeout=10,
    )
    assert not (await operator.ListDevices(asked, timeout=10)).devices
    fresh = payment()
    with pytest.raises(PaycoreError) as raised:
        await client.authorize("user-1", fresh, device.approve("user-1", fresh).proof, in_time())
    assert raised.value.reason is Reason.AUTHORIZATION_INVALID


async def test_a_pin_is_changed_unlocked_and_reset_over_the_wire(
    service: SigningProcess, client: SignerClient, connect: Connect, sealing: SealingKey
) -> None:
    await enrol(connect("app"), sealing, "user-1", PIN)
    stub = pb_grpc.SigningServiceStub(connect("app"))
    operator = pb_grpc.SigningServiceStub(connect("operator"))
    challenge = (
        await stub.CreateChallenge(pb.CreateChallengeRequest(user_id="user-1"), timeout=10)
    ).challenge
    old, new = sealing.for_change(PIN, WRONG, "user-1", challenge)
    await stub.ChangePin(
        pb.ChangePinRequest(
            user_id="user-1",
            challenge=challenge,
            old_pin=step_up_pb2.SealedPin(**old._asdict()),
            new_pin=step_up_pb2.SealedPin(**new._asdict()),
        ),
        timeout=10,
    )
    for _ in range(5):
        assert (await refusal_of(client, sealing, PIN)).reason is Reason.PIN_INCORRECT
    assert (await refusal_of(client, sealing, WRONG)).reason is Reason.PIN_LOCKED
    await operator.UnlockPin(pb.UnlockPinRequest(user_id="user-1", reason="a call"), timeout=10)
    intent = payment()
    assert await client.authorize("user-1", intent, sealing.for_payment(WRONG, intent), in_time())
    await operator.ResetPin(pb.ResetPinRequest(user_id="user-1", reason="a call"), timeout=10)
    assert (await refusal_of(client, sealing, WRONG)).reason is Reason.PIN_INCORRECT
    await enrol(connect("app"), sealing, "user-1", PIN)
    log = service.log.read_text()
    for event in ("PIN_ENROLLED", "PIN_CHANGED", "PIN_LOCKED", "PIN_UNLOCKED", "PIN_RESET"):
        assert f'"security_event": "{event}"' in log, event
    assert '"actor": "operator"' in log
    assert "user-1" not in log


async def test_a_process_with_its_keys_in_a_token_authorizes_and_keeps_them(
    endpoints: Endpoints, signing_dsn: str, tmp_path: Path
) -> None:
    hsm = softhsm.start(tmp_path)
    service = SigningProcess(endpoints, signing_dsn, tmp_path)
    service.passphrase.write_text(softhsm.USER_PIN)
    service.more = {
        "KEYSTORE": "pkcs11",
        "PKCS11_MODULE": hsm.module,
        "PKCS11_TOKEN": hsm.token("service"),
        "PKCS11_PIN_FILE": service.passphrase,
    }
    key_ids: set[str] = set()
    try:
        for _ in range(2):
            await service.start()
            async with (
                open_channel(service.target, endpoints.tls["app"], service="signing") as app,
                open_channel(
                    service.target, endpoints.tls["command"], service="signing"
                ) as command,
            ):
                stub = pb_grpc.SigningServiceStub(app)
                reply = await stub.GetPublicKeys(pb.GetPublicKeysRequest(), timeout=10)
                key = next(key for key in reply.keys if key.purpose == pb.KEY_PURPOSE_SEALING)
                sealing = SealingKey(key.key_id, key.public_key)
                if not key_ids:
                    await enrol(app, sealing, "user-1", PIN)
                intent = payment()
                authorization = await SignerClient(command, SystemClock()).authorize(
                    "user-1", intent, sealing.for_payment(PIN, intent), in_time()
                )
                key_ids.add(authorization.key_id)
            assert await service.stop() == 0
    finally:
        await service.kill()
    assert len(key_ids) == 1
    assert not service.keystore.exists()

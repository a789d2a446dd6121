"""The blocking client sets PINs and enrols devices with the same messages as the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc
import grpc_testing
import pytest

from paycore.client import DeviceAlgorithm, EnrolledDevice, ListedDevice
from paycore.client.blocking import BlockingPaycoreClient
from paycore.client.retries import Timeouts
from paycore.domain.enrolment import new_pin_binding, pin_change_digest
from paycore.domain.pin import SealedPin
from paycore.signing.v1 import signing_service_pb2 as pb
from tests.integration.client.test_approvals import (
    AT,
    CHALLENGE,
    CHALLENGED,
    ENROLLED,
    KEYS,
    NEW,
    OLD,
    TIME,
    device_key,
    opened,
)

SERVICE = pb.DESCRIPTOR.services_by_name["SigningService"]
Run = Callable[[Callable[[], Any]], "Future[Any]"]


@pytest.fixture
def channel() -> Any:
    return grpc_testing.channel([SERVICE], grpc_testing.strict_real_time())


@pytest.fixture
def client(channel: Any) -> BlockingPaycoreClient:
    return BlockingPaycoreClient([], signing=channel, timeouts=Timeouts(total_s=2))


@pytest.fixture
def run() -> Iterator[Run]:
    with ThreadPoolExecutor(1) as threads:
        yield threads.submit


def answer(channel: Any, method: str, reply: Any) -> Any:
    _, request, rpc = channel.take_unary_unary(SERVICE.methods_by_name[method])
    rpc.send_initial_metadata(())
    rpc.terminate(reply, (), grpc.StatusCode.OK, "")
    return request


def test_the_old_pin_approves_exactly_the_new_one(
    channel: Any, client: BlockingPaycoreClient, run: Run
) -> None:
    called = run(lambda: client.change_pin("ada", OLD, NEW))
    answer(channel, "GetPublicKeys", KEYS)
    answer(channel, "CreateChallenge", CHALLENGED)
    request = answer(channel, "ChangePin", pb.ChangePinResponse(change_time=TIME))
    assert called.result(5) == AT
    assert opened(request.new_pin, new_pin_binding("ada", CHALLENGE)).reveal() == NEW.reveal()
    sealed = SealedPin(request.new_pin.key_id, request.new_pin.ciphertext)
    binding = pin_change_digest("ada", CHALLENGE, sealed)
    assert opened(request.old_pin, binding).reveal() == OLD.reveal()


def test_a_device_is_enrolled_and_revoked(
    channel: Any, client: BlockingPaycoreClient, run: Run
) -> None:
    called = run(lambda: client.enroll_device("ada", CHALLENGE, device_key(), OLD))
    answer(channel, "GetPublicKeys", KEYS)
    request = answer(channel, "EnrollDevice", ENROLLED)
    assert called.result(5) == EnrolledDevice("0f" * 16, AT)
    assert request.key.signature == device_key().signature
    revoked = run(lambda: client.revoke_device("ada", "0f" * 16, "reported lost"))
    request = answer(channel, "RevokeDevice", pb.RevokeDeviceResponse(revoke_time=TIME))
    assert revoked.result(5) == AT
    assert request == pb.RevokeDeviceRequest(
        user_id="ada", device_id="0f" * 16, reason="reported lost"
    )


def test_a_pin_is_reset_and_unlocked(channel: Any, client: BlockingPaycoreClient, run: Run) -> None:
    reset = run(lambda: client.reset_pin("ada", "identified"))
    request = answer(channel, "ResetPin", pb.ResetPinResponse(revoked_device_ids=["0f" * 16]))
    assert reset.result(5) == ("0f" * 16,)
    assert request == pb.ResetPinRequest(user_id="ada", reason="identified")
    unlocked = run(lambda: client.unlock_pin("ada", "identified"))
    request = answer(channel, "UnlockPin", pb.UnlockPinResponse())
    assert unlocked.result(5) is None
    assert request == pb.UnlockPinRequest(user_id="ada", reason="identified")


def test_devices_are_listed(channel: Any, client: BlockingPaycoreClient, run: Run) -> None:
    called = run(lambda: client.list_devices("ada"))
    listed = pb.Device(
        device_id="0f" * 16,
        algorithm=pb.DEVICE_ALGORITHM_P256,
        enroll_time=TIME,
        vouched_by="operator",
    )
    request = answer(channel, "ListDevices", pb.ListDevicesResponse(devices=[listed]))
    assert called.result(5) == (ListedDevice("0f" * 16, DeviceAlgorithm.P256, AT, "operator"),)
    assert request == pb.ListDevicesRequest(user_id="ada")

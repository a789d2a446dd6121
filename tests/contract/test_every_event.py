"""Every kind of security event is brought about by a call, and is found in the trail."""

from __future__ import annotations

import importlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deploy.local import LocalStack
from operations.trail import TrailFilter
from paycore.client import Money, PaycoreClient, Pin, TransferOrder
from paycore.client.devices import DeviceKey
from paycore.client.errors import ClientError
from paycore.domain.device_key import DeviceAlgorithm
from paycore.domain.enrolment import device_enrolment_digest
from paycore.domain.errors import Reason
from paycore.runtime.errors import from_status
from paycore.runtime.security_events import REFUSED_CALLS
from paycore.runtime.security_events import Event as ServicesEvent
from paycore.signing.v1 import signing_service_pb2 as signing_pb2
from paycore.v1 import actor_pb2, history_service_pb2, step_up_pb2
from paycore.v1 import transfer_service_pb2 as transfers_pb2
from signing_service.event_kinds import Event as SigningEvent
from signing_service.events import REFUSED
from tests.contract.test_security_events import entries
from tests.support.callers import TIMEOUT_S, Caller, Callers, payment, refusal_of
from tests.support.load import patient_client

PIN, OTHER, WRONG = Pin("592713"), Pin("604821"), Pin("482715")
PAYEES = 100
"""What one device may pay within an hour, by the local stack's limits."""


@dataclass
class Desk:
    """Who calls, and a user whom it happens to."""

    callers: Callers
    client: PaycoreClient
    operator: PaycoreClient
    user: str

    @property
    def app(self) -> Caller:
        return self.callers.of("app")

    async def key(self, user: str) -> tuple[bytes, DeviceKey]:
        """A challenge of `user`, and a key that has signed it."""
        challenge = (await self.client.create_challenge(user)).value
        private = Ed25519PrivateKey.generate()
        public = private.public_key().public_bytes_raw()
        digest = device_enrolment_digest(user, challenge, DeviceAlgorithm.ED25519, public)
        return challenge, DeviceKey(DeviceAlgorithm.ED25519, public, private.sign(digest))

    async def wrong_pin(self, times: int = 1) -> None:
        """The user approves with a wrong PIN."""
        _, payer, payee = await self.app.open(2, owner=self.user)
        order = TransferOrder(payer, payee, Money(150_000, "EUR"))
        for _ in range(times):
            with pytest.raises(ClientError):
                await self.client.submit_transfer(order, pin=WRONG)


Scenario = Callable[[Desk], Awaitable[None]]


async def enrolled(desk: Desk) -> None:
    await desk.client.enroll_pin(desk.user, PIN)


async def changed(desk: Desk) -> None:
    await enrolled(desk)
    await desk.client.change_pin(desk.user, PIN, OTHER)


async def reset(desk: Desk) -> None:
    await enrolled(desk)
    await desk.operator.reset_pin(desk.user, "shown at the desk")


async def incorrect(desk: Desk) -> None:
    await enrolled(desk)
    await desk.wrong_pin()


async def locked(desk: Desk) -> None:
    await enrolled(desk)
    await desk.wrong_pin(5)


async def unlocked(desk: Desk) -> None:
    await locked(desk)
    await desk.operator.unlock_pin(desk.user, "shown at the desk")


async def pin_refused(desk: Desk) -> None:
    with pytest.raises(ClientError):
        await desk.client.enroll_pin(desk.user, Pin("111111"))


async def proof_refused(desk: Desk) -> None:
    keys = await desk.client.public_keys()
    sealing = next(key for key in keys if key.current and key.key_id.startswith("sealing"))
    request = signing_pb2.EnrollPinRequest(
        user_id=desk.user,
        sealed_pin=step_up_pb2.SealedPin(key_id=sealing.key_id, ciphertext=b"x" * 64),
    )
    refusal = await refusal_of(desk.app.signing.EnrollPin(request, timeout=TIMEOUT_S))
    assert refusal is not None
    assert refusal.reason == "AUTHORIZATION_INVALID"


async def device_enrolled(desk: Desk) -> None:
    await enrolled(desk)
    await desk.client.enroll_device(desk.user, *await desk.key(desk.user), PIN)


async def vouched_for(desk: Desk) -> None:
    await desk.operator.vouch_for_device(desk.user, *await desk.key(desk.user), "known")


async def revoked(desk: Desk) -> None:
    device = await desk.operator.vouch_for_device(desk.user, *await desk.key(desk.user), "known")
    await desk.operator.revoke_device(desk.user, device.device_id, "lost")


async def device_refused(desk: Desk) -> None:
    with pytest.raises(ClientError):
        await desk.operator.revoke_device(desk.user, "0f" * 16, "lost")


async def limit_tripped(desk: Desk) -> None:
    _, payer, *payees = await desk.app.open(PAYEES + 2, balance=1_000)
    actor = actor_pb2.Actor(user_id=desk.user, device_id=f"phone-{desk.user}")
    request = transfers_pb2.SubmitTransfersRequest(
        transfers=[payment(payer, payee, 1, actor=actor) for payee in payees]
    )
    reply = await desk.app.transfers.SubmitTransfers(request, timeout=TIMEOUT_S)
    refused = [from_status(one.error) for one in reply.outcomes if one.HasField("error")]
    assert [error and error.reason for error in refused] == [Reason.RATE_LIMITED]


SCENARIOS: dict[StrEnum, Scenario] = {
    SigningEvent.PIN_ENROLLED: enrolled,
    SigningEvent.PIN_CHANGED: changed,
    SigningEvent.PIN_RESET: reset,
    SigningEvent.PIN_INCORRECT: incorrect,
    SigningEvent.PIN_LOCKED: locked,
    SigningEvent.PIN_UNLOCKED: unlocked,
    SigningEvent.PIN_REFUSED: pin_refused,
    SigningEvent.PROOF_REFUSED: proof_refused,
    SigningEvent.DEVICE_ENROLLED: device_enrolled,
    SigningEvent.DEVICE_VOUCHED_FOR: vouched_for,
    SigningEvent.DEVICE_REVOKED: revoked,
    SigningEvent.DEVICE_REFUSED: device_refused,
    ServicesEvent.STEP_UP_REFUSED: incorrect,
    ServicesEvent.LIMIT_TRIPPED: limit_tripped,
}
"""What a user does, and what it is called."""

ELSEWHERE: dict[StrEnum, str] = {
    ServicesEvent.CALL_DENIED: (
        "tests.contract.test_every_event:test_a_call_that_the_query_service_denies_is_in_the_trail"
    ),
    ServicesEvent.CERTIFICATE_RENEWED: (
        "tests.integration.runtime.test_certificate_events:test_other_files_are_told_of"
    ),
    ServicesEvent.CERTIFICATE_REFUSED: (
        "tests.integration.runtime.test_certificate_events:test_files_that_are_wrong_are_told_of"
    ),
    SigningEvent.KEY_ADDED: (
        "tests.integration.signing.test_key_events"
        ":test_the_first_keys_are_told_of_once_by_however_many_processes"
    ),
    SigningEvent.KEY_ROTATED: (
        "tests.integration.signing.test_key_events"
        ":test_a_rotation_is_told_of_when_it_comes_and_when_it_is_used"
    ),
    SigningEvent.KEY_MISSING: (
        "tests.integration.signing.test_key_events:test_a_key_that_is_gone_is_told_of"
    ),
    SigningEvent.PIN_REMOVED: (
        "tests.integration.signing.test_key_events:test_a_pin_that_is_removed_by_hand_is_told_of"
    ),
}
"""What concerns no user, or no call brings about, and the test that does."""

NO_EVENT = frozenset(Reason) - REFUSED.keys() - REFUSED_CALLS.keys()
"""Refusals that say nothing about security, or whose event another has."""


def test_every_event_has_its_test() -> None:
    assert {*SCENARIOS, *ELSEWHERE} == {*ServicesEvent, *SigningEvent}
    for place in ELSEWHERE.values():
        module, name = place.split(":")
        assert callable(getattr(importlib.import_module(module), name)), place


def test_what_is_no_event_is_stated() -> None:
    assert {reason for reason in NO_EVENT if "PIN" in reason or "AUTHORIZATION" in reason} == {
        # The attempt's own row tells.
        Reason.PIN_INCORRECT,
        # Nobody refuses with it any more but the tables.
        Reason.AUTHORIZATION_USED,
    }


@pytest.mark.parametrize("event", SCENARIOS)
async def test_it_is_found_with_its_user(
    services: LocalStack, callers: Callers, event: StrEnum
) -> None:
    user = f"user-{secrets.token_hex(6)}"
    async with (
        patient_client(services.endpoints, "app") as client,
        patient_client(services.endpoints, "operator") as operator,
    ):
        await SCENARIOS[event](Desk(callers, client, operator, user))
    wanted = TrailFilter(user=user, events=[event.value])
    found = await entries(services, wanted, 1)
    assert {one.event for one in found} == {event.value}
    assert all(one.client and one.reason is not None for one in found)


async def test_a_call_that_the_query_service_denies_is_in_the_trail(
    services: LocalStack, callers: Callers
) -> None:
    method = "paycore.v1.HistoryService/GetTransfer"
    wanted = TrailFilter(client="stranger", events=["CALL_DENIED"])
    request = history_service_pb2.GetTransferRequest(transfer_id=1)
    before = sum(one.count for one in await entries(services, wanted, 0, method))
    refusal = await refusal_of(
        callers.of("stranger").history.GetTransfer(request, timeout=TIMEOUT_S)
    )
    assert refusal is not None
    assert refusal.reason == "NOT_PERMITTED"
    found = await entries(services, wanted, before + 1, method)
    assert sum(one.count for one in found) > before
    assert {one.database_user for one in found} == {"paycore_trail"}


async def test_items_that_are_denied_are_in_the_trail_too(
    services: LocalStack, callers: Callers
) -> None:
    _, foreign, other = await callers.of("loadtest").open(2, balance=10)
    many = transfers_pb2.SubmitTransfersRequest(
        transfers=[payment(foreign, other, 1) for _ in range(3)]
    )
    app = callers.of("app")
    reply = await app.transfers.SubmitTransfers(many, timeout=TIMEOUT_S)
    refused = [from_status(one.error) for one in reply.outcomes]
    assert [error and error.reason for error in refused] == [Reason.NOT_PERMITTED] * 3
    wanted = TrailFilter(client="app", events=["CALL_DENIED"])
    method = "paycore.v1.TransferService/SubmitTransfers"
    found = await entries(services, wanted, 3, method)
    assert sum(one.count for one in found) >= 3
    assert all((one.reason or "").startswith("NOT_PERMITTED") for one in found)

"""A device key approves for its user, exactly what it signed, until it is revoked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from paycore.domain.device_key import DeviceAlgorithm, DeviceSignature
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.step_up import AuthorizationMethod, intent_digest, payment_digest, signed_bytes
from signing_service import device_store
from signing_service.keystore.port import KeyPurpose
from tests.integration.signing.device import TestDevice
from tests.integration.signing.signer import (
    PIN,
    WRONG,
    ShiftedClock,
    Signer,
    hashes,
    paid,
    payment,
)

Start = Callable[..., Awaitable[Signer]]

ED25519, P256 = DeviceAlgorithm.ED25519, DeviceAlgorithm.P256


async def reason(call: Awaitable[object]) -> str:
    try:
        await call
    except PaycoreError as error:
        return error.reason.value
    return "DONE"


@pytest.mark.parametrize("algorithm", DeviceAlgorithm)
async def test_a_device_approves_a_payment_without_a_pin(
    signer: Signer, algorithm: DeviceAlgorithm, owner: asyncpg.Connection
) -> None:
    await signer.enrol("user-1")
    device = await TestDevice.new(algorithm).enrol(signer, "user-1")
    before = hashes()
    question = device.approve("user-1", payment())
    authorization = await signer.ask(question)
    assert hashes() == before
    assert authorization.method is AuthorizationMethod.DEVICE
    assert authorization.user_id == "user-1"
    assert authorization.digest == payment_digest(paid(question))
    (key,) = (
        key
        for key in signer.keystore.public_keys()
        if key.current and key.purpose is KeyPurpose.AUTHORIZATION
    )
    Ed25519PublicKey.from_public_bytes(key.public_key).verify(
        authorization.signature, signed_bytes(authorization)
    )
    assert await signer.store.find_authorization(authorization.digest) == authorization
    assert await owner.fetchval("SELECT device_id FROM signing.authorizations") == device.device_id


async def test_the_same_digest_is_signed_once(start: Start) -> None:
    signers = [await start(), await start()]
    await signers[0].enrol("user-1")
    device = await TestDevice.new().enrol(signers[0], "user-1")
    question = device.approve("user-1", payment())
    authorizations = await asyncio.gather(
        *(signers[number % 2].ask(question) for number in range(20))
    )
    assert len(set(authorizations)) == 1
    later = await start(clock=ShiftedClock(121))
    assert await reason(later.ask(question)) == "AUTHORIZATION_EXPIRED"


async def test_only_the_users_own_device_over_exactly_this_payment_approves(
    signer: Signer, owner: asyncpg.Connection
) -> None:
    for user in ("user-1", "user-2"):
        await signer.enrol(user)
    mine = await TestDevice.new().enrol(signer, "user-1")
    theirs = await TestDevice.new().enrol(signer, "user-2")
    intent = payment()
    right = mine.approve("user-1", intent)
    signature = mine.sign(intent_digest(intent))
    wrong = {
        "another user": right._replace(user_id="user-2"),
        "a user that there is not": right._replace(user_id="nobody"),
        "another payment": right._replace(intent=payment()),
        "another amount": right._replace(intent=intent._replace(amount=1)),
        "another device's id": right._replace(proof=DeviceSignature(theirs.device_id, signature)),
        "an id that there is not": right._replace(proof=DeviceSignature("f" * 32, signature)),
        "another device's signature": right._replace(
            proof=DeviceSignature(mine.device_id, theirs.sign(intent_digest(intent)))
        ),
        "no signature": right._replace(proof=DeviceSignature(mine.device_id, b"")),
    }
    refusals = [await signer.refusal(question) for question in wrong.values()]
    assert {refusal.reason for refusal in refusals} == {Reason.AUTHORIZATION_INVALID}
    # One answer: it tells neither which users exist nor which devices.
    assert len({(refusal.message, *refusal.metadata.items()) for refusal in refusals}) == 1
    assert await owner.fetchval("SELECT count(*) FROM signing.authorizations") == 0
    assert await signer.ask(right)


async def test_a_revoked_device_authorizes_nothing_not_even_again(start: Start) -> None:
    signers = [await start(), await start()]
    await signers[0].enrol("user-1")
    device = await TestDevice.new().enrol(signers[0], "user-1")
    question = device.approve("user-1", payment())
    for signer in signers:
        assert await signer.ask(question)
    await signers[0].devices.revoke("user-1", device.device_id, "lost", "app")
    for signer in signers:
        assert await reason(signer.ask(question)) == "AUTHORIZATION_INVALID"
        fresh = device.approve("user-1", payment())
        assert await reason(signer.ask(fresh)) == "AUTHORIZATION_INVALID"
        assert await signer.store.find_authorization(intent_digest(fresh.intent)) is None


async def test_what_was_asked_before_a_revocation_commits_waits_for_it(
    signer: Signer, owner: asyncpg.Connection
) -> None:
    await signer.enrol("user-1")
    device = await TestDevice.new().enrol(signer, "user-1")
    assert await signer.ask(device.approve("user-1", payment()))
    async with owner.transaction():
        await owner.execute("UPDATE signing.devices SET revoked_at_us = signing.now_us()")
        question = device.approve("user-1", payment())
        asking = asyncio.create_task(reason(signer.ask(question)))
        await asyncio.sleep(0.2)
        assert not asking.done()
    assert await asking == "AUTHORIZATION_INVALID"
    assert await signer.store.find_authorization(intent_digest(question.intent)) is None


async def test_no_authorization_is_later_than_the_revocation(
    start: Start, owner: asyncpg.Connection
) -> None:
    signers = [await start(), await start()]
    await signers[0].enrol("user-1")
    device = await TestDevice.new().enrol(signers[0], "user-1")
    revoked = asyncio.Event()
    after: list[str] = []

    async def pay_on(signer: Signer) -> None:
        while len(after) < 20:
            began_after = revoked.is_set()
            outcome = await reason(signer.ask(device.approve("user-1", payment())))
            if began_after:
                after.append(outcome)

    async def revoke() -> None:
        await asyncio.sleep(0.05)
        await signers[0].devices.revoke("user-1", device.device_id, "stolen", "app")
        revoked.set()

    await asyncio.gather(revoke(), *(pay_on(signer) for signer in signers))
    assert after
    assert set(after) == {"AUTHORIZATION_INVALID"}
    assert await owner.fetchval("SELECT count(*) FROM signing.authorizations") > 0


async def test_a_revocation_is_for_ever_and_only_the_users_own(signer: Signer) -> None:
    for user in ("user-1", "user-2"):
        await signer.enrol(user)
    device = await TestDevice.new().enrol(signer, "user-1")
    revoke = signer.devices.revoke
    for user, device_id in (("user-2", device.device_id), ("nobody", "f" * 32)):
        assert await reason(revoke(user, device_id, "mischief", "app")) == "DEVICE_NOT_FOUND"
    assert await signer.ask(device.approve("user-1", payment()))
    first = await revoke("user-1", device.device_id, "lost", "app")
    assert await revoke("user-1", device.device_id, "lost", "app") == first
    # The same key under a new id would undo it.
    again = TestDevice(device.algorithm, device.key)
    assert await reason(again.enrol(signer, "user-1")) == "AUTHORIZATION_INVALID"
    assert await TestDevice.new().enrol(signer, "user-1")


async def test_the_tables_only_let_a_device_be_revoked_once(
    signer: Signer, owner: asyncpg.Connection
) -> None:
    await signer.enrol("user-1")
    device = await TestDevice.new().enrol(signer, "user-1")
    for sql in (
        "UPDATE signing.devices SET user_id = 'user-2', revoked_at_us = 1",
        "UPDATE signing.devices SET revoked_at_us = NULL",
        "DELETE FROM signing.devices",
        "TRUNCATE signing.devices",
    ):
        with pytest.raises(asyncpg.RestrictViolationError):
            await owner.execute(sql)
    await signer.devices.revoke("user-1", device.device_id, "lost", "app")
    with pytest.raises(asyncpg.RestrictViolationError):
        await owner.execute("UPDATE signing.devices SET revoked_at_us = NULL")


async def test_a_device_needs_its_users_pin(signer: Signer, owner: asyncpg.Connection) -> None:
    await signer.enrol("user-1")
    for user in ("user-1", "nobody"):
        outcomes = [await reason(TestDevice.new().enrol(signer, user, WRONG)) for _ in range(6)]
        assert outcomes == ["PIN_INCORRECT"] * 5 + ["PIN_LOCKED"]
    assert await owner.fetchval("SELECT count(*) FROM signing.devices") == 0


async def test_a_carrier_of_an_enrolment_cannot_enrol_a_key_of_its_own(signer: Signer) -> None:
    await signer.enrol("user-1")
    mine, device = TestDevice.new(), TestDevice.new()
    challenge = signer.pins.challenge("user-1").value
    other = signer.pins.challenge("user-1").value
    sealed = signer.sealing().for_device(PIN, "user-1", challenge, ED25519, device.public_key)
    in_time = signer.clock.monotonic_s() + 20
    forged = mine.presented("user-1", challenge)
    stolen = device.presented("user-1", challenge)
    stolen._signature = mine.sign(stolen.digest)
    for presented in (forged, stolen, device.presented("user-1", other)):
        enrolling = signer.devices.enrol(presented, sealed, "app", in_time)
        assert await reason(enrolling) == "AUTHORIZATION_INVALID"
    right = device.presented("user-1", challenge)
    one = await signer.devices.enrol(right, sealed, "app", in_time)
    again = await signer.devices.enrol(right, sealed, "app", in_time)
    assert (one.device_id, one.enrolled_at_us) == (again.device_id, again.enrolled_at_us)


async def test_a_challenge_enrols_one_device(signer: Signer) -> None:
    await signer.enrol("user-1")
    challenge = signer.pins.challenge("user-1").value
    in_time = signer.clock.monotonic_s() + 20
    outcomes = []
    for _ in range(2):
        device = TestDevice.new(P256)
        sealed = signer.sealing().for_device(PIN, "user-1", challenge, P256, device.public_key)
        presented = device.presented("user-1", challenge)
        outcomes.append(await reason(signer.devices.enrol(presented, sealed, "app", in_time)))
    assert outcomes == ["DONE", "AUTHORIZATION_INVALID"]


async def test_a_caller_who_may_vouches_for_a_device(
    signer: Signer, owner: asyncpg.Connection
) -> None:
    device = TestDevice.new(P256)
    presented = device.presented("user-1", signer.pins.challenge("user-1").value)
    found = await signer.devices.vouch(presented, "identified in a branch", "operator")
    again = await signer.devices.vouch(presented, "identified in a branch", "operator")
    assert found.device_id == again.device_id
    device.device_id = found.device_id
    assert await signer.ask(device.approve("user-1", payment()))
    assert await owner.fetchval("SELECT vouched_by FROM signing.devices") == "operator"
    stolen = device.presented("user-1", presented.challenge)
    stolen._signature = TestDevice.new(P256).sign(stolen.digest)
    assert await reason(signer.devices.vouch(stolen, "x", "operator")) == "AUTHORIZATION_INVALID"


async def test_the_devices_of_a_user_are_bounded(
    signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_store, "MAX_DEVICES", 2)
    await signer.enrol("user-1")
    devices = [await TestDevice.new().enrol(signer, "user-1") for _ in range(2)]
    assert await reason(TestDevice.new().enrol(signer, "user-1")) == "TOO_MANY_DEVICES"
    await signer.devices.revoke("user-1", devices[0].device_id, "sold", "app")
    assert await TestDevice.new().enrol(signer, "user-1")


async def test_a_devices_failures_do_not_lock_the_pin(signer: Signer) -> None:
    await signer.enrol("user-1")
    device = await TestDevice.new().enrol(signer, "user-1")
    for _ in range(7):
        question = device.approve("user-1", payment())
        spoilt = question._replace(proof=DeviceSignature(device.device_id, bytes(64)))
        assert await reason(signer.ask(spoilt)) == "AUTHORIZATION_INVALID"
    assert await signer.pay("user-1", PIN)


async def test_a_reset_of_the_pin_takes_the_devices_out_of_force_unless_they_are_kept(
    signer: Signer, owner: asyncpg.Connection
) -> None:
    for user in ("user-1", "user-2"):
        await signer.enrol(user)
    lost = await TestDevice.new().enrol(signer, "user-1")
    stays = await TestDevice.new(P256).enrol(signer, "user-1")
    other = await TestDevice.new().enrol(signer, "user-2")
    await signer.devices.revoke("user-1", lost.device_id, "lost", "app")
    found = await signer.devices.in_force("user-1")
    assert [(one.device_id, one.algorithm, one.vouched_by) for one in found] == [
        (stays.device_id, P256, None)
    ]
    assert await signer.pins.reset("user-1", "came with it", "operator", keep_devices=True) == []
    assert await signer.ask(stays.approve("user-1", payment()))
    assert await signer.pins.reset("user-1", "forgotten", "operator") == [stays.device_id]
    assert await signer.devices.in_force("user-1") == []
    assert await reason(signer.ask(stays.approve("user-1", payment()))) == "AUTHORIZATION_INVALID"
    assert await signer.ask(other.approve("user-2", payment()))
    assert await signer.pins.reset("user-1", "forgotten", "operator") == []
    told = await owner.fetch("SELECT event, device_id FROM signing.events ORDER BY id")
    assert [row["device_id"] for row in told if row["event"] == "DEVICE_REVOKED"] == [
        lost.device_id,
        stays.device_id,
    ]

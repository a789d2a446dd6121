"""Approvals by devices that are recorded at once, each decided by itself."""

from __future__ import annotations

import asyncio

import asyncpg

from paycore.domain.step_up import Authorization, AuthorizationMethod
from signing_service.device_store import DeviceStore
from signing_service.transactions import Transactions
from tests.integration.signing.device import TestDevice
from tests.integration.signing.signer import Signer


def approval(number: int, user_id: str, digest: int) -> Authorization:
    return Authorization(
        id=number,
        user_id=user_id,
        method=AuthorizationMethod.DEVICE,
        digest=bytes([digest]) * 32,
        issued_at_us=1,
        expires_at_us=2,
        key_id="key",
        signature=bytes(64),
        signed_at_us=1,
    )


async def test_only_devices_in_force_approve_only_for_their_users_and_each_digest_once(
    signer: Signer, owner: asyncpg.Connection
) -> None:
    for user in ("user-1", "user-2"):
        await signer.enrol(user)
    first = await TestDevice.new().enrol(signer, "user-1")
    revoked = await TestDevice.new().enrol(signer, "user-1")
    second = await TestDevice.new().enrol(signer, "user-2")
    await signer.devices.revoke("user-1", revoked.device_id, "lost", "app")
    store = DeviceStore(Transactions(signer.pool))
    asked = [
        (first.device_id, approval(10_001, "user-1", 1), True),
        (first.device_id, approval(10_002, "user-2", 2), None),
        (revoked.device_id, approval(10_003, "user-1", 3), None),
        (second.device_id, approval(10_004, "user-2", 4), True),
        (first.device_id, approval(10_005, "user-1", 4), False),
        (first.device_id, approval(10_006, "user-1", 1), False),
        ("0" * 32, approval(10_007, "user-1", 7), None),
        (first.device_id, approval(10_008, "user-1", 8), True),
    ]
    found = await asyncio.gather(*(store.authorize(device, one) for device, one, _ in asked))
    assert found == [expected for _, _, expected in asked]
    rows = await owner.fetch(
        "SELECT id, user_id, device_id FROM signing.authorizations ORDER BY id"
    )
    assert [tuple(row) for row in rows] == [
        (one.id, one.user_id, device) for device, one, expected in asked if expected
    ]

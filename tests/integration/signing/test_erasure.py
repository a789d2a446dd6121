"""Whoever is erased approves nothing any more, and what was approved stays proved."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from paycore.domain.device_key import DeviceAlgorithm
from paycore.domain.errors import PaycoreError, Reason
from signing_service.data_key_store import DataKeyStore
from signing_service.data_keys import DataKeys
from signing_service.keystore.key_ring import KeyRing
from signing_service.transactions import Transactions
from tests.integration.signing.device import TestDevice
from tests.integration.signing.signer import PIN, Signer, payment

Start = Callable[..., Awaitable[Signer]]
ED25519, P256 = DeviceAlgorithm.ED25519, DeviceAlgorithm.P256


@pytest.fixture
def data_keys(signer: Signer, keys: KeyRing) -> DataKeys:
    return DataKeys(DataKeyStore(Transactions(signer.pool)), keys)


async def everything(owner: asyncpg.Connection) -> str:
    """All rows of the schema, as text."""
    tables = await owner.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'signing'")
    return "\n".join(
        [
            row[0]
            for table in tables
            for row in await owner.fetch(f"SELECT t::text FROM signing.{table['tablename']} AS t")
        ]
    )


async def test_pin_and_device_keys_of_an_erased_user_are_gone_and_approvals_stay(
    start: Start, data_keys: DataKeys, owner: asyncpg.Connection
) -> None:
    # Each keeps the device's key in memory: neither may go by it.
    signers = [await start(), await start()]
    await signers[0].enrol("ada")
    await signers[0].enrol("bob")
    devices = [await TestDevice.new(kind).enrol(signers[0], "ada") for kind in (ED25519, P256)]
    other = await TestDevice.new().enrol(signers[0], "bob")
    revoked = await TestDevice.new().enrol(signers[0], "ada")
    revoked_at_us = await signers[0].devices.revoke("ada", revoked.device_id, "lost", "operator")
    approved = [
        await signer.ask(device.approve("ada", payment()))
        for signer in signers
        for device in devices
    ]
    hash_of_pin = await owner.fetchval(
        "SELECT encoded_hash FROM signing.pins WHERE user_id = 'ada'"
    )
    secrets = [hash_of_pin, *(one.public_key.hex() for one in (*devices, revoked))]
    before = await everything(owner)
    assert all(one in before for one in secrets)

    await data_keys.destroy("ada")

    after = await everything(owner)
    assert [one for one in secrets if one in after] == []
    for signer in signers:
        for device in (*devices, revoked):
            refusal = await signer.refusal(device.approve("ada", payment()))
            assert refusal.reason is Reason.AUTHORIZATION_INVALID
        refusal = await signer.refusal(signer.question("ada", PIN, payment()))
        assert refusal.reason is Reason.PIN_INCORRECT
        assert (await signer.ask(other.approve("bob", payment()))).user_id == "bob"
        await signer.pay("bob", PIN)
        for authorization in approved:
            assert await signer.store.find_authorization(authorization.digest) == authorization
    told = await owner.fetch(
        "SELECT event, device_id, reason FROM signing.events WHERE user_id = 'ada'"
        " AND event IN ('PIN_REMOVED', 'DEVICE_REVOKED') ORDER BY id"
    )
    assert sorted(map(tuple, told[1:]), key=str) == sorted(
        [
            ("PIN_REMOVED", None, ""),
            *(("DEVICE_REVOKED", one.device_id, "its user was erased") for one in devices),
        ],
        key=str,
    )
    # Asked again, a revocation tells the time that it did.
    again = await signers[1].devices.revoke("ada", revoked.device_id, "lost", "operator")
    assert again == revoked_at_us

    # Who comes back enrols anew, the same device too.
    await data_keys.destroy("ada")
    await signers[1].enrol("ada")
    back = await TestDevice(ED25519, devices[0].key).enrol(signers[1], "ada")
    assert back.device_id != devices[0].device_id
    assert (await signers[0].ask(back.approve("ada", payment()))).user_id == "ada"


async def test_an_erasure_among_approvals_comes_wholly_before_or_after_each(
    signer: Signer, data_keys: DataKeys, owner: asyncpg.Connection
) -> None:
    await signer.enrol("ada")
    devices = [await TestDevice.new().enrol(signer, "ada") for _ in range(5)]

    async def approve(number: int) -> bool:
        await asyncio.sleep(number / 500)
        try:
            await signer.ask(devices[number % 5].approve("ada", payment()))
        except PaycoreError as error:
            if error.reason is not Reason.AUTHORIZATION_INVALID:
                raise
            return False
        return True

    async def erase() -> None:
        await asyncio.sleep(0.03)
        await data_keys.destroy("ada")

    *approved, _ = await asyncio.gather(*map(approve, range(60)), erase())
    recorded = await owner.fetchval("SELECT count(*) FROM signing.authorizations")
    assert recorded == sum(filter(None, approved))
    assert not all(approved)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE signing.devices SET public_key = NULL",
        "UPDATE signing.devices SET public_key = '\\x00', revoked_at_us = 1",
        "UPDATE signing.devices SET revoked_at_us = 1, user_id = 'bob', public_key = NULL",
        "UPDATE signing.devices SET revoked_at_us = 1, id = repeat('a', 32)",
    ],
)
async def test_a_key_is_forgotten_with_its_revocation_alone_and_nothing_else_changes(
    signer: Signer, owner: asyncpg.Connection, statement: str
) -> None:
    await signer.enrol("ada")
    await TestDevice.new().enrol(signer, "ada")
    with pytest.raises((asyncpg.RestrictViolationError, asyncpg.CheckViolationError)):
        await owner.execute(statement)


async def test_what_was_forgotten_does_not_come_back(
    signer: Signer, data_keys: DataKeys, owner: asyncpg.Connection
) -> None:
    await signer.enrol("ada")
    await TestDevice.new().enrol(signer, "ada")
    await data_keys.destroy("ada")
    for change in ("public_key = decode(repeat('00', 32), 'hex')", "revoked_at_us = 1"):
        with pytest.raises(asyncpg.RestrictViolationError):
            await owner.execute(f"UPDATE signing.devices SET {change}")

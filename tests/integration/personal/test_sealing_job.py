"""Rows that were stored plain are sealed, and told the same afterwards."""

from __future__ import annotations

import json

import asyncpg
import pytest

from operations.seal import job
from operations.seal.job import seal_plain
from paycore.domain.sealed import Unreadable
from paycore.domain.transfers import Details, Posted
from paycore.runtime.clock import SystemClock
from paycore.runtime.data_keys import DataKeys
from tests.integration.personal.conftest import Desk
from tests.integration.personal.test_command import ADA, detailed, shown
from tests.support.data_key_server import DataKeyServer
from tests.support.databases import OwnDatabase


async def store_plain(admin: asyncpg.Connection, outcome: object, details: Details) -> None:
    """The row of `outcome` as processes of the release before wrote it."""
    assert isinstance(outcome, Posted)
    await admin.execute("ALTER TABLE ledger.transfer_details DISABLE TRIGGER ALL")
    await admin.execute(
        "UPDATE ledger.transfer_details SET sealed = NULL, owner_key = NULL, actor_key = NULL,"
        " user_id = $2, device_id = $3, ip_address = $4, description = $5, metadata = $6"
        " WHERE id = $1",
        outcome.transfer.id, details.user_id or None, details.device_id or None,
        details.ip_address or None, details.description or None,
        json.dumps(dict(details.metadata)) if details.metadata else None,
    )  # fmt: skip
    await admin.execute("ALTER TABLE ledger.transfer_details ENABLE ALWAYS TRIGGER only_sealed")
    await admin.execute("ALTER TABLE ledger.transfer_details ENABLE ALWAYS TRIGGER append_only")


async def test_plain_rows_are_told_sealed_in_batches_and_erasable_after(
    desk: Desk, admin: asyncpg.Connection, database: OwnDatabase, signer: DataKeyServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(job, "AT_ONCE", 2)
    _, payer, payee = await desk.core.open(2, owner="ada")
    every = [ADA, Details(description="x"), Details("clerk", "", "", "y"), ADA, ADA]
    requests = [detailed(payer, payee, details) for details in every]
    for request, details in zip(requests, every, strict=True):
        await store_plain(admin, await desk.one(request), details)
    for request, details in zip(requests, every, strict=True):
        assert shown(await desk.one(request)) == details
    owner = await asyncpg.connect(database.dsn("owner"))
    async with signer.channel() as channel:
        keys = DataKeys(channel, SystemClock())
        told: list[int] = []
        assert await seal_plain(owner, keys, told.append) == (5, 0)
        assert told == [2, 4, 5]
        assert await seal_plain(owner, keys) == (0, 0)
    await owner.close()
    assert (
        await admin.fetchval(
            "SELECT count(*) FROM ledger.transfer_details WHERE sealed IS NULL"
            " OR num_nonnulls(user_id, device_id, ip_address, description, metadata) > 0"
        )
        == 0
    )
    for request, details in zip(requests, every, strict=True):
        assert shown(await desk.one(request)) == details
    await desk.erase("ada")
    for request in requests:
        assert shown(await desk.one(request)) is Unreadable.ERASED


async def test_what_is_sealed_is_changed_and_removed_by_nobody(
    desk: Desk, admin: asyncpg.Connection
) -> None:
    _, payer, payee = await desk.core.open(2, owner="ada")
    await desk.one(detailed(payer, payee))
    for statement in (
        "UPDATE ledger.transfer_details SET owner_key = 1",
        "UPDATE ledger.transfer_details SET sealed = NULL",
        "DELETE FROM ledger.transfer_details",
        "TRUNCATE ledger.transfer_details",
        "UPDATE signing.data_keys SET wrapped = wrapped",
    ):
        with pytest.raises(asyncpg.RestrictViolationError):
            await admin.execute(statement)

"""Keys of devices in PostgreSQL, and the authorizations that they earn."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import asyncpg

from paycore.domain.device_key import DeviceAlgorithm
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.step_up import Authorization
from paycore.runtime.together import Together
from signing_service.challenges import Challenge
from signing_service.device_keys import DeviceKey
from signing_service.transactions import Transactions

MAX_DEVICES = 20
"""Keys of one user that may be in force at once."""

MAX_CACHED = 10_000
APPROVALS_AT_ONCE = 100
"""Approvals that one statement records at most."""

MOST_WAITING = 1_000
"""Approvals of one process that wait for their statement; beyond them OVERLOADED."""

GATHER_S = 0.008
"""How long a busy process lets approvals gather, in seconds."""

RETRY_AFTER_MS = 100
IDS_AT_ONCE = 100
"""Numbers taken from the database at once; those of a process that ends are lost, which is well."""


class Device(NamedTuple):
    """An enrolled key, in force or revoked. Times are microseconds since 1970."""

    device_id: str
    user_id: str
    key: DeviceKey | None
    """None once its user was erased; then it is revoked too."""
    enrolled_at_us: int
    revoked_at_us: int | None


class DeviceInForce(NamedTuple):
    """What is told of an enrolled key. `enrolled_at_us` is in microseconds since 1970, `vouched_by`
    as in NewDevice."""

    device_id: str
    algorithm: DeviceAlgorithm
    enrolled_at_us: int
    vouched_by: str | None


class NewDevice(NamedTuple):
    """A key as it is written. `vouched_by` names a client, or is None where the PIN approved it."""

    device_id: str
    user_id: str
    algorithm: DeviceAlgorithm
    public_key: bytes
    vouched_by: str | None


class Added(StrEnum):
    """What became of a new device."""

    ADDED = "ADDED"
    CHALLENGE_SPENT = "CHALLENGE_SPENT"
    TOO_MANY = "TOO_MANY"
    KNOWN_KEY = "KNOWN_KEY"
    """It is or was a key of this user under another id."""


class DeviceStore:
    """All raise PaycoreError DATABASE_UNAVAILABLE or CONTENTION besides what they say."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._queries: Any = transactions.queries
        self._ids: Iterator[int] = iter(())
        # What never changes of a device. That it is in force is asked of the database each time.
        self._known: OrderedDict[str, Device] = OrderedDict()
        self._together = Together(
            self._authorize_all,
            at_once=APPROVALS_AT_ONCE,
            most_waiting=MOST_WAITING,
            gather_s=GATHER_S,
            refusal=_overloaded,
        )

    async def find(self, device_id: str) -> Device | None:
        """The device as it is recorded now."""
        async with self._transactions.statement() as connection:
            row = await self._queries.find_device(connection, id=device_id)
        if row is None:
            return None
        public_key = row["public_key"]
        key = None
        if public_key is not None:
            key = DeviceKey(DeviceAlgorithm(row["algorithm"]), public_key)
        return Device(row["id"], row["user_id"], key, row["enrolled_at_us"], row["revoked_at_us"])

    async def in_force(self, user_id: str) -> list[DeviceInForce]:
        """The devices of `user_id` that are, the oldest first."""
        async with self._transactions.statement() as connection:
            rows = await self._queries.devices_in_force(connection, user_id=user_id)
        return [
            DeviceInForce(
                row["id"],
                DeviceAlgorithm(row["algorithm"]),
                row["enrolled_at_us"],
                row["vouched_by"],
            )
            for row in rows
        ]

    async def find_key(self, device_id: str, user_id: str) -> DeviceKey | None:
        """The key that a device of `user_id` has or had; whether it is in force is left open."""
        device = self._known.get(device_id) or await self.find(device_id)
        if device is None or device.user_id != user_id or device.key is None:
            return None
        self._known[device_id] = device
        self._known.move_to_end(device_id)
        if len(self._known) > MAX_CACHED:
            self._known.popitem(last=False)
        return device.key

    async def add(
        self, connection: asyncpg.Connection, device: NewDevice, challenge: Challenge
    ) -> Added:
        """Write `device`, in the caller's transaction, which holds the user's counter."""
        if await self._queries.count_devices(connection, user_id=device.user_id) >= MAX_DEVICES:
            return Added.TOO_MANY
        spent = await self._queries.spend_challenge(
            connection, challenge=challenge.hash, expires_at_us=challenge.expires_at_us
        )
        if not spent:
            return Added.CHALLENGE_SPENT
        added = await self._queries.add_device(
            connection,
            id=device.device_id,
            user_id=device.user_id,
            algorithm=device.algorithm.value,
            public_key=device.public_key,
            vouched_by=device.vouched_by,
        )
        return Added.ADDED if added else Added.KNOWN_KEY

    async def add_vouched(self, device: NewDevice, challenge: Challenge) -> Added:
        """`add`, in a transaction of its own."""
        async with self._transactions.begin() as connection:
            await self._queries.add_counter(connection, user_id=device.user_id)
            await self._queries.lock_counter(connection, user_id=device.user_id)
            return await self.add(connection, device, challenge)

    async def revoke(self, device_id: str, user_id: str) -> int | None:
        """When the device was revoked, now or earlier; None when `user_id` has no such device."""
        async with self._transactions.begin() as connection:
            revoked_at_us: int | None = await self._queries.revoke_device(
                connection, id=device_id, user_id=user_id
            )
            if revoked_at_us is not None:
                return revoked_at_us
        device = await self.find(device_id)
        return None if device is None or device.user_id != user_id else device.revoked_at_us

    async def authorize(self, device_id: str, authorization: Authorization) -> bool | None:
        """Record `authorization`; False when its digest has one already, None when the device of
        its user is not in force. Then nothing is recorded."""
        return await self._together.ask((device_id, authorization))

    async def _authorize_all(self, asked: Sequence[tuple[str, Authorization]]) -> list[bool | None]:
        given = [authorization for _, authorization in asked]
        async with self._transactions.statement() as connection:
            rows = await self._queries.authorize_by_device(
                connection,
                device_ids=[device_id for device_id, _ in asked],
                digests=[one.digest for one in given],
                ids=[one.id for one in given],
                signed_at_us=[one.signed_at_us for one in given],
                issued_at_us=[one.issued_at_us for one in given],
                expires_at_us=[one.expires_at_us for one in given],
                user_ids=[one.user_id for one in given],
                key_ids=[one.key_id for one in given],
                signatures=[one.signature for one in given],
            )
        return [row["recorded"] if row["in_force"] else None for row in rows]

    async def next_id(self) -> int:
        """A number that no attempt and no authorization has."""
        while True:
            for number in self._ids:
                return number
            async with self._transactions.statement() as connection:
                rows = await self._queries.next_ids(connection, most=IDS_AT_ONCE)
            self._ids = iter([row["id"] for row in rows])


def _overloaded() -> PaycoreError:
    return PaycoreError(
        Reason.OVERLOADED,
        "the signing service is recording as many approvals as it can",
        {"limit": str(MOST_WAITING)},
        retry_after_ms=RETRY_AFTER_MS,
    )

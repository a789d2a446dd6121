"""PINs in PostgreSQL: set, changed, reset, unlocked."""

from __future__ import annotations

from typing import Any, NamedTuple

import asyncpg

from paycore.domain.errors import PaycoreError, Reason
from signing_service.challenges import Challenge
from signing_service.pins import PinRecord
from signing_service.transactions import Transactions


class Enrolment(NamedTuple):
    """A user's PIN: when it was set (microseconds since 1970), and the hash of its sealed form."""

    enrolled_at_us: int
    proof: bytes


class PinStore:
    """All raise PaycoreError DATABASE_UNAVAILABLE or CONTENTION besides what they say."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._queries: Any = transactions.queries

    async def find(self, user_id: str) -> Enrolment | None:
        """The PIN of `user_id` that is in force, if there is one."""
        async with self._transactions.statement() as connection:
            row = await self._queries.find_enrolment(connection, user_id=user_id)
        return None if row is None else Enrolment(row["enrolled_at_us"], row["proof"])

    async def enrol(self, user_id: str, record: PinRecord, proof: bytes) -> int | None:
        """Set the PIN of `user_id`, who has none, and forget failures from before it.

        Returns the time, in microseconds since 1970, or None where a PIN is in force: it stays.
        Raises PaycoreError AUTHORIZATION_INVALID when the same sealed PIN was set before.
        """
        async with self._transactions.begin() as connection:
            # In the order in which resets and erasures lock them.
            await self._lock(connection, user_id)
            enrolled_at_us: int | None = await self._queries.enrol(
                connection, user_id=user_id, proof=proof, **record._asdict()
            )
            if enrolled_at_us is not None:
                await self._spend(connection, user_id, proof)
                await self._queries.clear_counter(connection, user_id=user_id)
            return enrolled_at_us

    async def change(
        self,
        connection: asyncpg.Connection,
        user_id: str,
        record: PinRecord,
        proof: bytes,
        challenge: Challenge,
    ) -> None:
        """Replace the PIN of `user_id`, unless `challenge` was used; in the caller's transaction,
        which holds the user's counter."""
        spent = await self._queries.spend_challenge(
            connection, challenge=challenge.hash, expires_at_us=challenge.expires_at_us
        )
        if spent:
            await self._spend(connection, user_id, proof)
            await self._queries.change_pin(
                connection, user_id=user_id, proof=proof, **record._asdict()
            )

    async def reset(self, user_id: str, *, keep_devices: bool) -> list[str]:
        """Take the PIN of `user_id` out of force, and the devices if not told otherwise; returns
        the ids of these."""
        async with self._transactions.begin() as connection:
            # An attempt or an enrolment under way is either before the reset or after it.
            await self._lock(connection, user_id)
            await self._queries.reset_pin(connection, user_id=user_id)
            if keep_devices:
                return []
            rows = await self._queries.revoke_devices(connection, user_id=user_id)
        return sorted(row["id"] for row in rows)

    async def unlock(self, user_id: str) -> None:
        """Let `user_id` try again, with as many failures as after a lock that ended by itself."""
        async with self._transactions.begin() as connection:
            await self._lock(connection, user_id)
            await self._queries.unlock(connection, user_id=user_id)

    async def _lock(self, connection: asyncpg.Connection, user_id: str) -> None:
        await self._queries.add_counter(connection, user_id=user_id)
        await self._queries.lock_counter(connection, user_id=user_id)

    async def _spend(self, connection: asyncpg.Connection, user_id: str, proof: bytes) -> None:
        if await self._queries.spend_enrolment(connection, proof=proof, user_id=user_id) is None:
            # Raised inside the transaction: nothing of it stays.
            raise PaycoreError(
                Reason.AUTHORIZATION_INVALID,
                "the sealed PIN is not valid",
                {"why": "this sealed PIN was set before: seal it anew"},
            )

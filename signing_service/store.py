"""PINs, attempts and authorizations in PostgreSQL, shared by all signing processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any, NamedTuple

import asyncpg

import database
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.step_up import Authorization, AuthorizationMethod
from paycore.runtime.database import DISCONNECTED
from signing_service import policy
from signing_service.pins import PinRecord
from signing_service.policy import Admission, AttemptRules, Counter

ACQUIRE_TIMEOUT_S = 1.0
"""Longest wait for a connection of the pool, in seconds."""

_BUSY = (
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
)


class Verdict(StrEnum):
    """What became of an attempt; all but CORRECT are failures."""

    CORRECT = "CORRECT"
    INCORRECT = "INCORRECT"
    ABANDONED = "ABANDONED"
    """The process that checked it did not live to say."""


class Reserved(NamedTuple):
    """One attempt is taken and committed; its PIN may be checked against `record`, once."""

    attempt_id: int
    record: PinRecord | None


class Decided(NamedTuple):
    """The proof was evaluated, now or earlier; figures as they were then."""

    verdict: Verdict
    attempts_left: int
    locked_until_us: int


class Locked(NamedTuple):
    """No attempt is allowed before this time, in microseconds since 1970."""

    until_us: int


class MustWait(NamedTuple):
    """Attempts without a verdict stand before this one, or this one has no verdict yet."""


Reservation = Reserved | Decided | Locked | MustWait


class Enrolment(NamedTuple):
    """A user's PIN: when it was set (microseconds since 1970), and the hash of its sealed form."""

    enrolled_at_us: int
    proof: bytes


class Store:
    """The signing schema. Each method is one transaction.

    All raise PaycoreError DATABASE_UNAVAILABLE or CONTENTION when the database cannot do it now.
    """

    def __init__(self, pool: asyncpg.Pool, rules: AttemptRules | None = None) -> None:
        self._pool = pool
        self._rules = rules or AttemptRules()
        self._queries: Any = database.load("signing")

    async def check_ready(self) -> None:
        """Raise unless the schema is there and readable."""
        async with self._transaction() as connection:
            await self._queries.check_ready(connection)

    async def reserve(
        self, user_id: str, *, proof: bytes, digest: bytes, fresh_until_us: int
    ) -> Reservation:
        """Take one attempt of `user_id` for `proof`, or say why not.

        A proof that has a verdict gets it again, whatever has happened since.
        """
        async with self._transaction() as connection:
            counter = await self._lock(connection, user_id)
            situation = await self._situation(connection, user_id, proof)
            if situation["abandoned"]:
                counter = await self._abandon(connection, user_id, counter, situation)
                situation = await self._situation(connection, user_id, proof)
            if situation["verdict"] is not None:
                return _decided(situation)
            if situation["attempt_id"] is not None:
                return MustWait()
            match policy.admit(counter, situation["pending"], situation["now_us"]):
                case Admission.LOCKED:
                    return Locked(counter.locked_until_us)
                case Admission.WAIT:
                    return MustWait()
                case Admission.RESERVE:
                    attempt_id = await self._queries.reserve(
                        connection,
                        proof=proof,
                        user_id=user_id,
                        digest=digest,
                        failures_before=counter.failures,
                        fresh_until_us=fresh_until_us,
                    )
                    return Reserved(attempt_id, _record(situation))

    async def record_failure(self, user_id: str, attempt_id: int) -> Decided:
        """Give a reserved attempt the verdict INCORRECT, unless it has one."""
        async with self._transaction() as connection:
            counter, attempt = await self._attempt(connection, user_id, attempt_id)
            if attempt["verdict"] is not None:
                return _decided(attempt)
            counter = policy.after_failures(counter, 1, attempt["now_us"], self._rules)
            return await self._decide(
                connection, user_id, attempt_id, Verdict.INCORRECT, counter, attempt["now_us"]
            )

    async def record_success(
        self, user_id: str, attempt_id: int, digest: bytes, sign: Callable[[], Authorization]
    ) -> Decided:
        """Give a reserved attempt the verdict CORRECT, unless it has one, and record what it earns.

        `sign` makes the authorization and is called only where none is recorded for `digest`.
        """
        async with self._transaction() as connection:
            counter, attempt = await self._attempt(connection, user_id, attempt_id)
            if attempt["verdict"] is not None:
                return _decided(attempt)
            if await self._queries.find_authorization(connection, digest=digest) is None:
                await self._queries.record_authorization(connection, **sign()._asdict())
            counter = policy.after_success(counter, attempt["failures_before"])
            return await self._decide(
                connection, user_id, attempt_id, Verdict.CORRECT, counter, attempt["now_us"]
            )

    async def find_authorization(self, digest: bytes) -> Authorization | None:
        """What was signed for `digest`, if anything was."""
        async with self._transaction() as connection:
            row = await self._queries.find_authorization(connection, digest=digest)
        if row is None:
            return None
        return Authorization(**{**row, "method": AuthorizationMethod(row["method"])})

    async def find_enrolment(self, user_id: str) -> Enrolment | None:
        """The enrolment of `user_id`, if there is one."""
        async with self._transaction() as connection:
            row = await self._queries.find_enrolment(connection, user_id=user_id)
        return None if row is None else Enrolment(row["enrolled_at_us"], row["proof"])

    async def enrol(self, user_id: str, record: PinRecord, proof: bytes) -> int | None:
        """Set the first PIN of `user_id` and forget failures from before it.

        Returns the time, in microseconds since 1970, or None where a PIN exists: it stays.
        """
        async with self._transaction() as connection:
            enrolled_at_us: int | None = await self._queries.enrol(
                connection, user_id=user_id, proof=proof, **record._asdict()
            )
            if enrolled_at_us is not None:
                await self._queries.clear_counter(connection, user_id=user_id)
            return enrolled_at_us

    async def remove_stale(self, margin_us: int, most: int) -> int:
        """Remove up to `most` verdicts whose proof expired `margin_us` ago; returns how many."""
        async with self._transaction() as connection:
            removed: int = await self._queries.remove_stale(
                connection, margin_us=margin_us, most=most
            )
            return removed

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[asyncpg.Connection]:
        try:
            async with (
                self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection,
                connection.transaction(),
            ):
                yield connection
        except _BUSY as error:
            raise PaycoreError(Reason.CONTENTION, "the signing database is busy") from error
        except DISCONNECTED as error:
            raise PaycoreError(
                Reason.DATABASE_UNAVAILABLE, "the signing database cannot be reached"
            ) from error

    async def _lock(self, connection: asyncpg.Connection, user_id: str) -> Counter:
        row = await self._queries.lock_counter(connection, user_id=user_id)
        if row is None:
            await self._queries.add_counter(connection, user_id=user_id)
            row = await self._queries.lock_counter(connection, user_id=user_id)
        return Counter(**row)

    async def _situation(self, connection: asyncpg.Connection, user_id: str, proof: bytes) -> Any:
        return await self._queries.read_situation(
            connection,
            user_id=user_id,
            proof=proof,
            abandoned_after_us=self._rules.abandoned_after_us,
        )

    async def _abandon(
        self, connection: asyncpg.Connection, user_id: str, counter: Counter, situation: Any
    ) -> Counter:
        now_us = situation["now_us"]
        counter = policy.after_failures(counter, situation["abandoned"], now_us, self._rules)
        await self._queries.abandon(
            connection,
            user_id=user_id,
            started_before_us=now_us - self._rules.abandoned_after_us,
            attempts_left=policy.attempts_left(counter, now_us),
            locked_until_us=counter.locked_until_us,
        )
        await self._queries.save_counter(connection, user_id=user_id, **counter._asdict())
        return counter

    async def _attempt(
        self, connection: asyncpg.Connection, user_id: str, attempt_id: int
    ) -> tuple[Counter, Any]:
        counter = await self._lock(connection, user_id)
        return counter, await self._queries.read_attempt(connection, attempt_id=attempt_id)

    async def _decide(
        self,
        connection: asyncpg.Connection,
        user_id: str,
        attempt_id: int,
        verdict: Verdict,
        counter: Counter,
        now_us: int,
    ) -> Decided:
        left = policy.attempts_left(counter, now_us)
        await self._queries.decide(
            connection,
            attempt_id=attempt_id,
            verdict=verdict.value,
            attempts_left=left,
            locked_until_us=counter.locked_until_us,
        )
        await self._queries.save_counter(connection, user_id=user_id, **counter._asdict())
        return Decided(verdict, left, counter.locked_until_us)


def _decided(row: Any) -> Decided:
    return Decided(Verdict(row["verdict"]), row["attempts_left"], row["locked_until_us"])


def _record(situation: Any) -> PinRecord | None:
    encoded_hash = situation["encoded_hash"]
    return None if encoded_hash is None else PinRecord(situation["pepper_id"], encoded_hash)

"""Attempts and what they earn, in PostgreSQL, shared by all signing processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import asyncpg

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.step_up import Authorization, AuthorizationMethod
from paycore.runtime.together import Together
from signing_service import policy
from signing_service.attempts import (
    Approval,
    Decided,
    Earn,
    Locked,
    MustWait,
    Reservation,
    Reserved,
    Verdict,
)
from signing_service.pins import PinRecord
from signing_service.policy import Admission, AttemptRules, Counter
from signing_service.transactions import Transactions

AT_ONCE = 32
"""Reservations, or approvals, that one statement makes at most."""

MOST_WAITING = 4_096
"""Of each that wait for their statement, in one process; beyond them OVERLOADED."""

GATHER_S = 0.05
"""How long they wait for company at most while the hashing pool has enough to do, in seconds."""

RETRY_AFTER_MS = 200


class _Wish(NamedTuple):
    """What is to be reserved."""

    user_id: str
    proof: bytes
    digest: bytes
    fresh_until_us: int


class _Approving(NamedTuple):
    """A correct PIN's attempt, and what it earns."""

    user_id: str
    reserved: Reserved
    approval: Approval


class Store:
    """The counts of attempts. Each method is one transaction.

    All raise PaycoreError DATABASE_UNAVAILABLE or CONTENTION when the database cannot do it now.
    """

    def __init__(
        self,
        transactions: Transactions,
        rules: AttemptRules | None = None,
        crowd: Callable[[], int] | None = None,
    ) -> None:
        """`crowd` tells for how many calls it is worth waiting, to reserve or to record for them
        together."""
        self._transactions = transactions
        self._queries: Any = transactions.queries
        self._rules = rules or AttemptRules()
        self._reserving = Together(
            self._reserve_each,
            at_once=AT_ONCE,
            most_waiting=MOST_WAITING,
            gather_s=GATHER_S,
            refusal=_overloaded,
            wanted=crowd or _nobody,
        )
        self._approving = Together(
            self._approve_each,
            at_once=AT_ONCE,
            most_waiting=MOST_WAITING,
            gather_s=GATHER_S,
            refusal=_overloaded,
            wanted=crowd or _nobody,
        )

    async def reserve(
        self, user_id: str, *, proof: bytes, digest: bytes, fresh_until_us: int
    ) -> Reservation:
        """Take one attempt of `user_id` for `proof`, or say why not.

        A proof that has a verdict gets it again, whatever has happened since.
        """
        reserved = await self._reserving.ask(_Wish(user_id, proof, digest, fresh_until_us))
        if reserved is not None:
            return reserved
        async with self._transactions.begin() as connection:
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
                    return Reserved(attempt_id, _record(situation), situation["pin_proof"])

    async def _reserve_each(self, wishes: Sequence[_Wish]) -> list[Reserved | None]:
        """An attempt for each about whose user nothing is open; None where more is to be known."""
        async with self._transactions.statement() as connection:
            rows = await self._queries.reserve_each(
                connection,
                users=[one.user_id for one in wishes],
                proofs=[one.proof for one in wishes],
                digests=[one.digest for one in wishes],
                fresh_until_us=[one.fresh_until_us for one in wishes],
            )
        reserved: list[Reserved | None] = [None] * len(wishes)
        for row in rows:
            reserved[row["place"] - 1] = Reserved(row["attempt_id"], _record(row), row["pin_proof"])
        return reserved

    async def record_failure(self, user_id: str, attempt_id: int) -> Decided:
        """Give a reserved attempt the verdict INCORRECT, unless it has one."""
        async with self._transactions.begin() as connection:
            counter, attempt = await self._attempt(connection, user_id, attempt_id)
            if attempt["verdict"] is not None:
                return _decided(attempt)
            counter = policy.after_failures(counter, 1, attempt["now_us"], self._rules)
            return await self._decide(
                connection, user_id, attempt_id, Verdict.INCORRECT, counter, attempt["now_us"]
            )

    async def release(self, user_id: str, attempt_id: int) -> None:
        """Give a reserved attempt back: its PIN was not looked at, and will not be."""
        async with self._transactions.begin() as connection:
            await self._lock(connection, user_id)
            await self._queries.release(connection, attempt_id=attempt_id)

    async def record_success(
        self, user_id: str, reserved: Reserved, earn: Earn, rehashed: PinRecord | None = None
    ) -> Decided:
        """Give a reserved attempt the verdict CORRECT, unless it has one, and write what it earns.

        A PIN that was changed or reset since the reservation earns nothing: the verdict is then
        ABANDONED. `rehashed` replaces the record of the PIN that was found correct.
        """
        attempt_id = reserved.attempt_id
        if isinstance(earn, Approval) and rehashed is None:
            decided = await self._approving.ask(_Approving(user_id, reserved, earn))
            if decided is not None:
                return decided
        async with self._transactions.begin() as connection:
            counter, attempt = await self._attempt(connection, user_id, attempt_id)
            if attempt["verdict"] is not None:
                return _decided(attempt)
            now_us = attempt["now_us"]
            if reserved.record is None or reserved.pin_proof != attempt["pin_proof"]:
                counter = policy.after_failures(counter, 1, now_us, self._rules)
                return await self._decide(
                    connection, user_id, attempt_id, Verdict.ABANDONED, counter, now_us
                )
            if rehashed is not None:
                await self._queries.rehash(
                    connection,
                    user_id=user_id,
                    old_hash=reserved.record.encoded_hash,
                    **rehashed._asdict(),
                )
            if isinstance(earn, Approval):
                earn.recorded = await self._record(connection, earn.signed)
            else:
                await earn(connection)
            after = policy.after_success(counter, attempt["failures_before"])
            return await self._decide(
                connection,
                user_id,
                attempt_id,
                Verdict.CORRECT,
                after,
                now_us,
                changed=after != counter,
            )

    async def _approve_each(self, asked: Sequence[_Approving]) -> list[Decided | None]:
        """The verdict CORRECT and what it earns, in one statement; None where more than the attempt
        would change, or it may not have that verdict: then nothing is written."""
        signed = [one.approval.signed for one in asked]
        async with self._transactions.statement() as connection:
            rows = await self._queries.approve_by_pin(
                connection,
                attempts_left=policy.MAX_FAILURES,
                ids=[one.reserved.attempt_id for one in asked],
                pin_proofs=[one.reserved.pin_proof for one in asked],
                user_ids=[one.user_id for one in asked],
                digests=[one.digest for one in signed],
                signed_at_us=[one.signed_at_us for one in signed],
                issued_at_us=[one.issued_at_us for one in signed],
                expires_at_us=[one.expires_at_us for one in signed],
                key_ids=[one.key_id for one in signed],
                signatures=[one.signature for one in signed],
            )
            found = {row["id"]: row for row in rows}
            decided: list[Decided | None] = []
            for _, reserved, approval in asked:
                row = found.get(reserved.attempt_id)
                if row is None:
                    decided.append(None)
                    continue
                if row["recorded"]:
                    approval.recorded = approval.signed
                else:
                    approval.recorded = await self._find(connection, approval.signed.digest)
                decided.append(
                    Decided(Verdict.CORRECT, policy.MAX_FAILURES, row["locked_until_us"])
                )
        return decided

    async def _record(
        self, connection: asyncpg.Connection, signed: Authorization
    ) -> Authorization | None:
        """What is recorded for the digest: where nothing is, `signed`."""
        recorded = await self._find(connection, signed.digest)
        if recorded is None:
            if await self._queries.record_authorization(connection, **signed._asdict()):
                return signed
            # Another user's approval of the same came between.
            recorded = await self._find(connection, signed.digest)
        return recorded

    async def find_authorization(self, digest: bytes) -> Authorization | None:
        """What was signed for `digest`, if anything was."""
        async with self._transactions.statement() as connection:
            return await self._find(connection, digest)

    async def remove_stale(self, margin_us: int, most: int) -> int:
        """Remove up to `most` verdicts whose proof expired `margin_us` ago; returns how many."""
        async with self._transactions.begin() as connection:
            removed: int = await self._queries.remove_stale(
                connection, margin_us=margin_us, most=most
            )
            return removed

    async def remove_spent_challenges(self, margin_us: int, most: int) -> int:
        """Remove up to `most` used challenges that expired `margin_us` ago; returns how many."""
        async with self._transactions.begin() as connection:
            removed: int = await self._queries.remove_spent_challenges(
                connection, margin_us=margin_us, most=most
            )
            return removed

    async def _find(self, connection: asyncpg.Connection, digest: bytes) -> Authorization | None:
        row = await self._queries.find_authorization(connection, digest=digest)
        if row is None:
            return None
        return Authorization(**{**row, "method": AuthorizationMethod(row["method"])})

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
        *,
        changed: bool = True,
    ) -> Decided:
        """`changed` tells whether `counter` differs from what is recorded."""
        left = policy.attempts_left(counter, now_us)
        await self._queries.decide(
            connection,
            attempt_id=attempt_id,
            verdict=verdict.value,
            attempts_left=left,
            locked_until_us=counter.locked_until_us,
        )
        if changed:
            await self._queries.save_counter(connection, user_id=user_id, **counter._asdict())
        return Decided(verdict, left, counter.locked_until_us)


def _decided(row: Any) -> Decided:
    return Decided(Verdict(row["verdict"]), row["attempts_left"], row["locked_until_us"])


def _record(situation: Any) -> PinRecord | None:
    encoded_hash = situation["encoded_hash"]
    return None if encoded_hash is None else PinRecord(situation["pepper_id"], encoded_hash)


def _nobody() -> int:
    return 0


def _overloaded() -> PaycoreError:
    return PaycoreError(
        Reason.OVERLOADED,
        "the signing service is recording as many attempts as it can",
        {"limit": str(MOST_WAITING)},
        retry_after_ms=RETRY_AFTER_MS,
    )

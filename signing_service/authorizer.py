"""Decides whether a payer approved a payment, and signs that they did."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import structlog
from tenacity import (
    AsyncRetrying,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.pin import Pin, SealedPin
from paycore.domain.step_up import (
    AUTHORIZATION_LIFETIME_US,
    SIGN_TIME_WINDOW_US,
    Authorization,
    AuthorizationMethod,
    PaymentIntent,
    authorization_bytes,
    is_fresh,
    payment_digest,
)
from paycore.runtime.clock import Clock
from signing_service.hashing_pool import HashingPool
from signing_service.keystore.port import Keystore, SealBrokenError
from signing_service.metrics import VERDICTS
from signing_service.pins import PinHasher
from signing_service.store import Decided, Locked, MustWait, Reserved, Store, Verdict
from signing_service.turns import Turns, overloaded

MAX_WAIT_S = 1.5
"""Longest wait for earlier attempts of the same user, in seconds."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 0.1
"""Between looks at whether earlier attempts have their verdict, jittered."""

RECORD_TRIES = 4
"""Tries to record a verdict; without one the attempt counts as a failure."""

log = structlog.get_logger()


class Question(NamedTuple):
    """Did `user_id` approve `intent`, as `proof` says?"""

    user_id: str
    intent: PaymentIntent
    proof: SealedPin


class Authorizer:
    """Evaluates proofs. All that is counted is in the store, so any number of processes may run."""

    def __init__(
        self, store: Store, keystore: Keystore, hasher: PinHasher, pool: HashingPool, clock: Clock
    ) -> None:
        self._store = store
        self._keystore = keystore
        self._hasher = hasher
        self._pool = pool
        self._clock = clock
        self._turns = Turns()
        self._under_way: set[asyncio.Task[Authorization]] = set()

    async def authorize(self, question: Question, deadline_s: float) -> Authorization:
        """The authorization that the proof earns, or has earned before.

        `deadline_s` is the caller's, on the monotonic clock. Raises PaycoreError:
        AUTHORIZATION_EXPIRED when the sign time is too far from now; AUTHORIZATION_INVALID when the
        proof does not open with this payment's digest (then no PIN was evaluated and no attempt is
        counted), when its check was interrupted, or when another user's approval is recorded for
        the digest; PIN_INCORRECT and PIN_LOCKED with `attempts_left` and `locked_until`;
        OVERLOADED, DEADLINE_EXCEEDED, DATABASE_UNAVAILABLE, CONTENTION.
        """
        # A caller that goes away must not take the verdict with it: it would count as a failure.
        task = asyncio.create_task(self._authorize(question, deadline_s))
        self._under_way.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    async def drain(self) -> None:
        """Wait until every evaluation under way has its verdict."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _finished(self, task: asyncio.Task[Authorization]) -> None:
        self._under_way.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            VERDICTS.labels("AUTHORIZED").inc()
        elif isinstance(error, PaycoreError):
            VERDICTS.labels(error.reason.value).inc()
        else:
            VERDICTS.labels(Reason.INTERNAL.value).inc()

    async def _authorize(self, question: Question, deadline_s: float) -> Authorization:
        intent = question.intent
        if not is_fresh(intent.signed_at_us, self._clock.now_us()):
            raise _expired("the sign time is too far from the signing service's clock")
        digest = payment_digest(intent)
        pin = self._open(question.proof, digest)
        decided = await self._verdict(question, digest, pin, deadline_s)
        match decided.verdict:
            case Verdict.CORRECT:
                return await self._recorded(question.user_id, digest)
            case Verdict.INCORRECT:
                raise _refused(Reason.PIN_INCORRECT, "the PIN is not correct", decided)
            case Verdict.ABANDONED:
                raise _refused(
                    Reason.AUTHORIZATION_INVALID,
                    "the check of this proof was interrupted and counts as a failure: sign again",
                    decided,
                )

    def _open(self, proof: SealedPin, digest: bytes) -> Pin:
        try:
            return self._keystore.open_pin(proof.key_id, proof.ciphertext, digest)
        except SealBrokenError as error:
            raise _invalid(f"the sealed PIN does not open: {error}") from None

    async def _verdict(
        self, question: Question, digest: bytes, pin: Pin, deadline_s: float
    ) -> Decided:
        """The verdict on the proof: recorded, or found now, after waiting for earlier attempts."""
        now_s = self._clock.monotonic_s()
        give_up_s = min(deadline_s, now_s + MAX_WAIT_S)
        out_of_time = _too_late if deadline_s <= give_up_s else overloaded
        pause_s = FIRST_PAUSE_S
        async with self._turns.of(question.user_id, give_up_s - now_s, out_of_time):
            while True:
                # Not held while waiting: one user's queue must not fill the pool for others.
                with self._pool.place():
                    decided = await self._try(question, digest, pin, deadline_s)
                if decided is not None:
                    return decided
                if self._clock.monotonic_s() + pause_s >= give_up_s:
                    raise out_of_time()
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _try(
        self, question: Question, digest: bytes, pin: Pin, deadline_s: float
    ) -> Decided | None:
        if self._clock.monotonic_s() >= deadline_s:
            raise _too_late()
        reservation = await self._store.reserve(
            question.user_id,
            proof=proof_hash(question.user_id, question.proof, digest),
            digest=digest,
            fresh_until_us=question.intent.signed_at_us + SIGN_TIME_WINDOW_US,
        )
        match reservation:
            case Decided():
                return reservation
            case MustWait():
                return None
            case Locked(until_us):
                raise PaycoreError(
                    Reason.PIN_LOCKED,
                    "the PIN is locked after too many failures",
                    {"attempts_left": "0", "locked_until": _time_text(until_us)},
                )
            case Reserved():
                return await self._evaluate(question, digest, pin, reservation)

    async def _evaluate(
        self, question: Question, digest: bytes, pin: Pin, reserved: Reserved
    ) -> Decided:
        user_id, attempt_id = question.user_id, reserved.attempt_id
        if not await self._hasher.matches(user_id, pin, reserved.record):
            return await _persistently(lambda: self._store.record_failure(user_id, attempt_id))

        def sign() -> Authorization:
            return self._sign(attempt_id, question, digest)

        return await _persistently(
            lambda: self._store.record_success(user_id, attempt_id, digest, sign)
        )

    def _sign(self, attempt_id: int, question: Question, digest: bytes) -> Authorization:
        key_id = self._keystore.signing_key_id
        issued_at_us = self._clock.now_us()
        expires_at_us = issued_at_us + AUTHORIZATION_LIFETIME_US
        message = authorization_bytes(
            authorization_id=attempt_id,
            user_id=question.user_id,
            method=AuthorizationMethod.PIN,
            digest=digest,
            issued_at_us=issued_at_us,
            expires_at_us=expires_at_us,
            key_id=key_id,
        )
        return Authorization(
            id=attempt_id,
            user_id=question.user_id,
            method=AuthorizationMethod.PIN,
            digest=digest,
            issued_at_us=issued_at_us,
            expires_at_us=expires_at_us,
            key_id=key_id,
            signature=self._keystore.sign(key_id, message),
            signed_at_us=question.intent.signed_at_us,
        )

    async def _recorded(self, user_id: str, digest: bytes) -> Authorization:
        authorization = await self._store.find_authorization(digest)
        if authorization is None or authorization.user_id != user_id:
            log.error("digest was authorized for another user")
            raise _invalid("another user's approval is recorded for this payment")
        if authorization.expires_at_us <= self._clock.now_us():
            raise _expired("the authorization of this payment has expired")
        return authorization


def proof_hash(user_id: str, proof: SealedPin, digest: bytes) -> bytes:
    """What names one sealed proof, asked about one user and payment: SHA-256."""
    hashed = hashlib.sha256(digest)
    for part in (user_id.encode("utf-8"), proof.key_id.encode("utf-8"), proof.ciphertext):
        hashed.update(len(part).to_bytes(4, "big") + part)
    return hashed.digest()


async def _persistently(record: Callable[[], Awaitable[Decided]]) -> Decided:
    """What `record` returns, tried again where the database could not do it."""
    retrying = AsyncRetrying(
        retry=retry_if_exception(_may_succeed_later),
        stop=stop_after_attempt(RECORD_TRIES),
        wait=wait_random_exponential(multiplier=0.1, max=1.0),
        reraise=True,
    )
    async for attempt in retrying:
        with attempt:
            return await record()
    raise AssertionError("the last try returns or raises")


def _may_succeed_later(error: BaseException) -> bool:
    return isinstance(error, PaycoreError) and error.reason in (
        Reason.DATABASE_UNAVAILABLE,
        Reason.CONTENTION,
    )


def _refused(reason: Reason, message: str, decided: Decided) -> PaycoreError:
    metadata = {"attempts_left": str(decided.attempts_left)}
    if decided.attempts_left == 0:
        metadata["locked_until"] = _time_text(decided.locked_until_us)
    return PaycoreError(reason, message, metadata)


def _too_late() -> PaycoreError:
    return PaycoreError(Reason.DEADLINE_EXCEEDED, "the deadline passed before the PIN check")


def _invalid(why: str) -> PaycoreError:
    return PaycoreError(Reason.AUTHORIZATION_INVALID, "the proof is not valid", {"why": why})


def _expired(why: str) -> PaycoreError:
    return PaycoreError(Reason.AUTHORIZATION_EXPIRED, "the proof is too old", {"why": why})


def _time_text(time_us: int) -> str:
    """RFC 3339 in UTC, rounded up to the second."""
    moment = datetime.datetime.fromtimestamp(-(-time_us // 1_000_000), datetime.UTC)
    return moment.isoformat().replace("+00:00", "Z")

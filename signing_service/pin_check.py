"""Evaluates PINs: each sealed one once, each guess counted before it is looked at."""

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

from paycore.domain.errors import PaycoreError, Reason, Remedy
from paycore.domain.pin import Pin, SealedPin
from paycore.runtime.clock import Clock
from signing_service.attempts import Decided, Earn, Locked, MustWait, Reserved, Verdict
from signing_service.event_kinds import Event
from signing_service.events import SecurityEvent, record
from signing_service.hashing_pool import HashingPool
from signing_service.keystore.port import Keystore, SealBrokenError, UnknownKeyError
from signing_service.pins import PinHasher
from signing_service.store import Store
from signing_service.turns import Turns, overloaded

MAX_WAIT_S = 1.5
"""Longest wait for earlier attempts of the same user, in seconds."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 0.1
"""Between looks at whether earlier attempts have their verdict, jittered."""

RECORD_TRIES = 4
"""Tries to record a verdict; without one the attempt counts as a failure."""


log = structlog.get_logger()


class PinProof(NamedTuple):
    """A sealed PIN of `user_id`, which approves what has `digest` and nothing else.

    A recorded verdict on it is kept until `fresh_until_us`, in microseconds since 1970.
    """

    user_id: str
    sealed: SealedPin
    digest: bytes
    fresh_until_us: int


Prepare = Callable[[int], Awaitable[Earn]]
"""Makes ready what a correct PIN earns, given its attempt's id; nothing is recorded before."""


class PinChecker:
    """All that is counted is in the store, so any number of processes may run."""

    def __init__(
        self, store: Store, keystore: Keystore, hasher: PinHasher, pool: HashingPool, clock: Clock
    ) -> None:
        self._store = store
        self._keystore = keystore
        self._hasher = hasher
        self._pool = pool
        self._clock = clock
        self._turns = Turns()

    def open(self, sealed: SealedPin, binding: bytes) -> Pin:
        """The PIN inside. Raises PaycoreError AUTHORIZATION_INVALID; then nothing is counted."""
        try:
            return self._keystore.open_pin(sealed.key_id, sealed.ciphertext, binding)
        except SealBrokenError as error:
            raise PaycoreError(
                Reason.AUTHORIZATION_INVALID,
                "the proof is not valid",
                {"why": f"the sealed PIN does not open: {error}"},
            ) from None

    async def require(self, proof: PinProof, prepare: Prepare, deadline_s: float) -> None:
        """Return once the PIN was found correct, now or earlier, and what it earns is written.

        `deadline_s` is the caller's, on the monotonic clock. Raises PaycoreError:
        AUTHORIZATION_INVALID when the proof does not open with its digest (then no PIN was
        evaluated and no attempt is counted) or when its check was interrupted, which counts, with
        the `remedy` SEAL_ANEW; PIN_INCORRECT and PIN_LOCKED with `attempts_left` and
        `locked_until`; OVERLOADED, DEADLINE_EXCEEDED, DATABASE_UNAVAILABLE, CONTENTION.
        """
        pin = self.open(proof.sealed, proof.digest)
        decided = await self._verdict(proof, pin, prepare, deadline_s)
        match decided.verdict:
            case Verdict.CORRECT:
                return
            case Verdict.INCORRECT:
                raise _refused(Reason.PIN_INCORRECT, "the PIN is not correct", decided)
            case Verdict.ABANDONED:
                # Whoever checked it did not live to say, and had one guess: it is never looked at
                # again, though it may be right.
                raise _refused(
                    Reason.AUTHORIZATION_INVALID,
                    "the check of this sealed PIN was interrupted and counts as a failure: seal the"
                    " PIN anew",
                    decided,
                    why="interrupted",
                    remedy=Remedy.SEAL_ANEW.value,
                )

    async def _verdict(
        self, proof: PinProof, pin: Pin, prepare: Prepare, deadline_s: float
    ) -> Decided:
        """The verdict on the proof: recorded, or found now, after waiting for earlier attempts."""
        now_s = self._clock.monotonic_s()
        give_up_s = min(deadline_s, now_s + MAX_WAIT_S)
        out_of_time = _too_late if deadline_s <= give_up_s else overloaded
        pause_s = FIRST_PAUSE_S
        async with self._turns.of(proof.user_id, give_up_s - now_s, out_of_time):
            while True:
                # Not held while waiting: one user's queue must not fill the pool for others.
                with self._pool.place():
                    decided = await self._try(proof, pin, prepare, deadline_s)
                if decided is not None:
                    return decided
                if self._clock.monotonic_s() + pause_s >= give_up_s:
                    raise out_of_time()
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _try(
        self, proof: PinProof, pin: Pin, prepare: Prepare, deadline_s: float
    ) -> Decided | None:
        if self._clock.monotonic_s() >= deadline_s:
            raise _too_late()
        reservation = await self._store.reserve(
            proof.user_id,
            proof=proof_hash(proof.user_id, proof.sealed, proof.digest),
            digest=proof.digest,
            fresh_until_us=proof.fresh_until_us,
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
                return await self._evaluate(proof, pin, prepare, reservation)

    async def _evaluate(
        self, proof: PinProof, pin: Pin, prepare: Prepare, reserved: Reserved
    ) -> Decided:
        user_id, attempt_id = proof.user_id, reserved.attempt_id
        try:
            correct = await self._hasher.matches(user_id, pin, reserved.record)
        except UnknownKeyError:
            # Made with a newer pepper than this process was started with: others have it.
            log.error("the keystore lacks the pepper of a PIN")
            await self._store.release(user_id, attempt_id)
            raise PaycoreError(
                Reason.SIGNER_UNAVAILABLE, "this signing process lacks a key"
            ) from None
        if not correct:
            decided = await _persistently(lambda: self._store.record_failure(user_id, attempt_id))
            record(SecurityEvent(Event.PIN_INCORRECT, user_id))
            if decided.attempts_left == 0:
                record(SecurityEvent(Event.PIN_LOCKED, user_id))
            return decided
        rehashed = None
        if self._hasher.is_outdated(reserved.record):
            rehashed = await self._hasher.record(user_id, pin)
        earn = await prepare(attempt_id)
        return await _persistently(
            lambda: self._store.record_success(user_id, reserved, earn, rehashed)
        )


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


def _refused(reason: Reason, message: str, decided: Decided, **more: str) -> PaycoreError:
    metadata = {"attempts_left": str(decided.attempts_left), **more}
    if decided.attempts_left == 0:
        metadata["locked_until"] = _time_text(decided.locked_until_us)
    return PaycoreError(reason, message, metadata)


def _too_late() -> PaycoreError:
    return PaycoreError(Reason.DEADLINE_EXCEEDED, "the deadline passed before the PIN check")


def _time_text(time_us: int) -> str:
    """RFC 3339 in UTC, rounded up to the second."""
    moment = datetime.datetime.fromtimestamp(-(-time_us // 1_000_000), datetime.UTC)
    return moment.isoformat().replace("+00:00", "Z")

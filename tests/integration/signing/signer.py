"""A whole signer without its server, and payers who use it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import asyncpg
from prometheus_client import REGISTRY

from paycore.client.sealing import SealingKey
from paycore.domain.errors import PaycoreError
from paycore.domain.pin import Pin, SealedPin
from paycore.domain.step_up import Authorization, PaymentIntent
from paycore.runtime.clock import Clock, SystemClock
from paycore.runtime.database import open_pool
from paycore.runtime.pools import PoolName
from signing_service.authorizer import Question
from signing_service.device_keeper import DeviceKeeper
from signing_service.hashing_pool import HashingPool
from signing_service.keystore.key_ring import KeyRing
from signing_service.keystore.port import KeyPurpose, Keystore
from signing_service.pin_keeper import PinKeeper
from signing_service.policy import AttemptRules
from signing_service.service import Parts, assemble
from signing_service.store import Store
from signing_service.transactions import Transactions

PIN = Pin("739164")
WRONG = Pin("739165")

_numbers: Iterator[int] = count(1)


class ShiftedClock(SystemClock):
    """The machine's clock, some seconds ahead in wall time."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead_us = int(ahead_s * 1_000_000)

    def now_us(self) -> int:
        return super().now_us() + self._ahead_us


@dataclass
class Signer:
    """All parts of a signing process but its gRPC server."""

    pool: asyncpg.Pool
    keystore: Keystore
    hashing: HashingPool
    parts: Parts
    clock: Clock

    @classmethod
    async def start(
        cls,
        dsn: str,
        keystore: Keystore,
        *,
        rules: AttemptRules | None = None,
        clock: Clock | None = None,
        capacity: int = 64,
    ) -> Signer:
        clock = clock or SystemClock()
        pool = await open_pool(dsn, size=8, name=PoolName.SIGNING, application="signing-test")
        hashing = HashingPool(threads=2, capacity=capacity)
        parts = assemble(Transactions(pool), keystore, hashing, clock, rules)
        return cls(pool, keystore, hashing, parts, clock)

    @property
    def store(self) -> Store:
        return self.parts.store

    @property
    def pins(self) -> PinKeeper:
        return self.parts.pins

    @property
    def devices(self) -> DeviceKeeper:
        return self.parts.devices

    async def stop(self) -> None:
        await self.parts.under_way.drain()
        self.hashing.close()
        self.pool.terminate()

    async def enrol(self, user_id: str, pin: Pin = PIN) -> int:
        return await self.pins.enrol(user_id, self.sealing().for_enrolment(pin, user_id), "app")

    async def pay(
        self, user_id: str, pin: Pin, intent: PaymentIntent | None = None
    ) -> Authorization:
        """Approve a payment of its own with a proof of its own."""
        return await self.ask(self.question(user_id, pin, intent or payment()))

    def question(self, user_id: str, pin: Pin, intent: PaymentIntent) -> Question:
        return Question(user_id, intent, self.sealing().for_payment(pin, intent))

    async def ask(self, question: Question, within_s: float = 20.0) -> Authorization:
        return await self.parts.authorizer.authorize(question, self.clock.monotonic_s() + within_s)

    async def refusal(self, question: Question, within_s: float = 20.0) -> PaycoreError:
        """The refusal that `question` gets; fails when it is authorized."""
        try:
            await self.ask(question, within_s)
        except PaycoreError as error:
            return error
        raise AssertionError("authorized")

    def sealing(self) -> SealingKey:
        return sealing_key(self.keystore)


def sealed(question: Question) -> SealedPin:
    """The proof of a question that is approved with a PIN."""
    assert isinstance(question.proof, SealedPin)
    return question.proof


def paid(question: Question) -> PaymentIntent:
    """What a question about a single payment is about."""
    assert isinstance(question.intent, PaymentIntent)
    return question.intent


def sealing_key(keystore: Keystore) -> SealingKey:
    (key,) = (
        key for key in keystore.public_keys() if key.purpose is KeyPurpose.SEALING and key.current
    )
    return SealingKey(key.key_id, key.public_key)


def payment(ahead_s: float = 0.0) -> PaymentIntent:
    """Another payment each time, signed now or `ahead_s` seconds later."""
    number = next(_numbers)
    signed_at_us = time.time_ns() // 1_000 + int(ahead_s * 1_000_000)
    return PaymentIntent("TRANSFER", 11, 12, 125_000, "EUR", "app", f"order-{number}", signed_at_us)


def key_ring_of(signer: Signer) -> KeyRing:
    assert isinstance(signer.keystore, KeyRing)
    return signer.keystore


def hashes() -> int:
    """How many PINs this process has hashed or checked so far."""
    value = REGISTRY.get_sample_value("paycore_signing_hash_seconds_count")
    assert value is not None
    return int(value)


def altered(proof: SealedPin, place: int) -> SealedPin:
    """`proof` with one bit of its ciphertext changed."""
    ciphertext = bytearray(proof.ciphertext)
    ciphertext[place] ^= 1
    return proof._replace(ciphertext=bytes(ciphertext))

"""How PINs are hashed, and that the pool of threads for it is bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from argon2 import extract_parameters
from argon2.low_level import Type

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.pin import Pin
from signing_service.hashing_pool import HashingPool
from signing_service.keystore.key_ring import KeyRing
from signing_service.keystore.port import KeyPurpose, UnknownKeyError
from signing_service.pins import PinHasher

PIN = Pin("739164")


@pytest.fixture
def pool() -> Iterator[HashingPool]:
    pool = HashingPool(threads=2, capacity=3)
    yield pool
    pool.close()


@pytest.fixture
def ring() -> KeyRing:
    return KeyRing.generate(now_us=1)


async def test_a_record_is_argon2id_with_the_designed_cost(
    pool: HashingPool, ring: KeyRing
) -> None:
    record = await PinHasher(ring, pool).record("user-1", PIN)
    parameters = extract_parameters(record.encoded_hash)
    assert parameters.type is Type.ID
    assert (parameters.memory_cost, parameters.time_cost) == (19 * 1024, 2)
    assert (parameters.parallelism, parameters.salt_len, parameters.hash_len) == (1, 16, 32)
    assert PIN.reveal() not in repr(record)


async def test_the_same_pin_has_another_record_each_time(pool: HashingPool, ring: KeyRing) -> None:
    hasher = PinHasher(ring, pool)
    first, second = await hasher.record("user-1", PIN), await hasher.record("user-1", PIN)
    assert first.encoded_hash != second.encoded_hash


async def test_only_the_pin_of_that_user_matches(pool: HashingPool, ring: KeyRing) -> None:
    hasher = PinHasher(ring, pool)
    record = await hasher.record("user-1", PIN)
    assert await hasher.matches("user-1", PIN, record)
    assert not await hasher.matches("user-1", Pin("739165"), record)
    assert not await hasher.matches("user-2", PIN, record)
    assert not await hasher.matches("user-1", PIN, None)


async def test_a_record_is_worth_nothing_without_its_pepper(
    pool: HashingPool, ring: KeyRing
) -> None:
    record = await PinHasher(ring, pool).record("user-1", PIN)
    rotated = ring.rotated(KeyPurpose.PEPPER, now_us=2)
    assert await PinHasher(rotated, pool).matches("user-1", PIN, record)
    elsewhere = KeyRing.generate(now_us=1)
    with pytest.raises(UnknownKeyError):
        await PinHasher(elsewhere, pool).matches("user-1", PIN, record)
    wrong_pepper = record._replace(pepper_id=elsewhere.pepper_id)
    assert not await PinHasher(elsewhere, pool).matches("user-1", PIN, wrong_pepper)


async def test_a_full_pool_refuses_with_a_time_to_retry_and_recovers(pool: HashingPool) -> None:
    with ExitStack() as places:
        for _ in range(3):
            places.enter_context(pool.place())
        with pytest.raises(PaycoreError) as raised, pool.place():
            pass
        assert raised.value.reason is Reason.OVERLOADED
        assert raised.value.retry_after_ms is not None
        assert raised.value.retry_after_ms > 0
    with pool.place():
        assert await pool.run(lambda: 1 + 1) == 2


async def test_no_more_threads_hash_than_are_allowed(pool: HashingPool) -> None:
    running, most, lock = 0, 0, threading.Lock()
    both = threading.Barrier(2)

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait(timeout=10)
        with lock:
            running -= 1

    await asyncio.gather(*(pool.run(work) for _ in range(6)))
    assert most == 2

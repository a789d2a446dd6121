"""Attempts are counted before they are made, whatever runs in parallel or dies."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable

import asyncpg
import psycopg
import pytest

from deploy.local import Endpoints
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.pin import Pin
from paycore.domain.step_up import payment_digest
from signing_service.attempts import Decided, MustWait, Reserved, Verdict
from signing_service.pin_check import proof_hash
from signing_service.policy import AttemptRules
from signing_service.store import Store
from signing_service.turns import AT_ONCE
from tests.integration.signing.signer import PIN, WRONG, Signer, hashes, paid, payment, sealed

Start = Callable[..., Awaitable[Signer]]


async def outcome(call: Awaitable[object]) -> str:
    try:
        await call
    except PaycoreError as error:
        return error.reason.value
    return "AUTHORIZED"


async def patient_outcome(signer: Signer, user_id: str, pin: Pin) -> str:
    """The outcome for a caller who sends the same proof again when told to, as a client does."""
    question = signer.question(user_id, pin, payment())
    for _ in range(20):
        seen = await outcome(signer.ask(question))
        if seen != "OVERLOADED":
            break
        await asyncio.sleep(0.1)
    return seen


async def attempts(owner: asyncpg.Connection) -> dict[str, int]:
    rows = await owner.fetch(
        "SELECT coalesce(verdict::text, 'PENDING') AS verdict, count(*) AS number"
        " FROM signing.attempts GROUP BY 1"
    )
    return {row["verdict"]: row["number"] for row in rows}


async def earn_nothing(_: object) -> None:
    return


async def lock_ends(owner: asyncpg.Connection) -> None:
    await owner.execute("UPDATE signing.attempt_counters SET locked_until_us = signing.now_us()")


async def test_fifty_parallel_guesses_over_two_processes_get_five_evaluations(
    start: Start, owner: asyncpg.Connection
) -> None:
    signers = [await start(), await start()]
    await signers[0].enrol("user-1")
    before = hashes()
    outcomes = Counter(
        await asyncio.gather(
            *(
                patient_outcome(signers[number % 2], "user-1", Pin(f"{800_013 + number}"))
                for number in range(50)
            )
        )
    )
    assert outcomes == {"PIN_INCORRECT": 5, "PIN_LOCKED": 45}
    assert hashes() - before == 5
    assert await attempts(owner) == {"INCORRECT": 5}
    assert await outcome(signers[1].pay("user-1", PIN)) == "PIN_LOCKED"


async def test_parallel_correct_pins_do_not_lock_their_owner(
    start: Start, owner: asyncpg.Connection
) -> None:
    signers = [await start(), await start()]
    await signers[0].enrol("user-1")
    for _ in range(4):
        assert await outcome(signers[0].pay("user-1", WRONG)) == "PIN_INCORRECT"
    outcomes = Counter(
        await asyncio.gather(
            *(patient_outcome(signers[number % 2], "user-1", PIN) for number in range(40))
        )
    )
    assert outcomes == {"AUTHORIZED": 40}
    refused = await signers[0].refusal(signers[0].question("user-1", WRONG, payment()))
    assert refused.metadata == {"attempts_left": "4"}


async def test_each_failure_says_how_many_are_left_and_the_last_until_when(
    signer: Signer, owner: asyncpg.Connection
) -> None:
    await signer.enrol("user-1")
    refusals = [await signer.refusal(signer.question("user-1", WRONG, payment())) for _ in range(6)]
    assert [refusal.reason for refusal in refusals] == [Reason.PIN_INCORRECT] * 5 + [
        Reason.PIN_LOCKED
    ]
    assert [refusal.metadata["attempts_left"] for refusal in refusals] == list("432100")
    locked_until = await owner.fetchval(
        "SELECT to_char(to_timestamp(ceil(locked_until_us / 1e6)) AT TIME ZONE 'UTC',"
        ' \'YYYY-MM-DD"T"HH24:MI:SS"Z"\') FROM signing.attempt_counters'
    )
    assert [refusal.metadata.get("locked_until") for refusal in refusals] == [
        *[None] * 4,
        locked_until,
        locked_until,
    ]


async def test_a_lock_lasts_half_an_hour_and_the_next_an_hour(
    signer: Signer, owner: asyncpg.Connection
) -> None:
    await signer.enrol("user-1")
    minutes = []
    for _ in range(2):
        for _ in range(5):
            assert await outcome(signer.pay("user-1", WRONG)) == "PIN_INCORRECT"
        minutes.append(
            await owner.fetchval(
                "SELECT round((locked_until_us - signing.now_us()) / 60e6)::int"
                " FROM signing.attempt_counters"
            )
        )
        assert await outcome(signer.pay("user-1", PIN)) == "PIN_LOCKED"
        await lock_ends(owner)
    assert minutes == [30, 60]
    assert await outcome(signer.pay("user-1", PIN)) == "AUTHORIZED"
    for _ in range(5):
        await outcome(signer.pay("user-1", WRONG))
    assert await owner.fetchval(
        "SELECT locked_until_us - signing.now_us() BETWEEN 29 * 60e6 AND 30 * 60e6"
        " FROM signing.attempt_counters"
    )


async def test_a_success_clears_only_failures_recorded_before_it_began(signer: Signer) -> None:
    async def reserve(store: Store, number: int) -> Reserved:
        reserved = await store.reserve(
            "user-1", proof=bytes([number]) * 32, digest=bytes([number]) * 32, fresh_until_us=0
        )
        assert isinstance(reserved, Reserved)
        return reserved

    store = signer.store
    await signer.enrol("user-1")
    await store.record_failure("user-1", (await reserve(store, 1)).attempt_id)
    began_first = await reserve(store, 2)
    await store.record_failure("user-1", (await reserve(store, 3)).attempt_id)
    await store.record_failure("user-1", (await reserve(store, 4)).attempt_id)
    decided = await store.record_success("user-1", began_first, earn_nothing)
    assert decided == Decided(Verdict.CORRECT, attempts_left=3, locked_until_us=0)


async def test_the_same_wrong_proof_again_is_counted_once(
    start: Start, owner: asyncpg.Connection
) -> None:
    signers = [await start(), await start()]
    await signers[0].enrol("user-1")
    question = signers[0].question("user-1", WRONG, payment())
    before = hashes()
    refusals = await asyncio.gather(
        *(signers[number % 2].refusal(question) for number in range(20))
    )
    refusals.append(await signers[1].refusal(question))
    assert {refusal.reason for refusal in refusals} == {Reason.PIN_INCORRECT}
    assert {refusal.metadata["attempts_left"] for refusal in refusals} == {"4"}
    assert hashes() - before == 1
    assert await attempts(owner) == {"INCORRECT": 1}


async def test_the_same_correct_proof_again_gets_the_same_authorization(
    start: Start, owner: asyncpg.Connection
) -> None:
    signers = [await start(), await start()]
    await signers[0].enrol("user-1")
    question = signers[0].question("user-1", PIN, payment())
    before = hashes()
    authorizations = await asyncio.gather(
        *(signers[number % 2].ask(question) for number in range(20))
    )
    assert len(set(authorizations)) == 1
    assert hashes() - before == 1
    assert await attempts(owner) == {"CORRECT": 1}


async def test_a_recorded_verdict_is_repeated_even_while_locked(signer: Signer) -> None:
    await signer.enrol("user-1")
    intent = payment()
    approved = signer.question("user-1", PIN, intent)
    authorization = await signer.ask(approved)
    for _ in range(5):
        await outcome(signer.pay("user-1", WRONG))
    assert await outcome(signer.pay("user-1", PIN)) == "PIN_LOCKED"
    assert await signer.ask(approved) == authorization


async def test_a_proof_that_does_not_open_is_no_attempt(
    signer: Signer, owner: asyncpg.Connection
) -> None:
    await signer.enrol("user-1")
    before = hashes()
    for _ in range(10):
        question = signer.question("user-1", WRONG, payment())
        elsewhere = question._replace(intent=payment())
        assert (await signer.refusal(elsewhere)).reason is Reason.AUTHORIZATION_INVALID
    assert hashes() == before
    assert await attempts(owner) == {}


async def test_a_user_without_a_pin_cannot_be_told_apart(
    signer: Signer, owner: asyncpg.Connection
) -> None:
    await signer.enrol("user-1")
    seen = {}
    for user in ("user-1", "nobody"):
        before = hashes()
        refusals = [await signer.refusal(signer.question(user, WRONG, payment())) for _ in range(6)]
        seen[user] = (
            [refusal.reason for refusal in refusals],
            [refusal.message for refusal in refusals],
            [refusal.metadata["attempts_left"] for refusal in refusals],
            hashes() - before,
        )
    assert seen["user-1"] == seen["nobody"]
    assert seen["nobody"][0] == [Reason.PIN_INCORRECT] * 5 + [Reason.PIN_LOCKED]


@pytest.mark.parametrize(
    ("within_s", "calls", "reason"),
    [
        (0.3, 1, Reason.DEADLINE_EXCEEDED),
        (0.3, AT_ONCE + 1, Reason.DEADLINE_EXCEEDED),
        (20.0, 1, Reason.OVERLOADED),
        (20.0, AT_ONCE + 1, Reason.OVERLOADED),
    ],
)
async def test_a_wait_says_whether_the_caller_or_the_service_ended_it(
    signer: Signer, within_s: float, calls: int, reason: Reason
) -> None:
    for number in range(AT_ONCE):
        reserved = await signer.store.reserve(
            "user-1", proof=bytes([number]) * 32, digest=b"d" * 32, fresh_until_us=2**62
        )
        assert isinstance(reserved, Reserved)
    refusals = await asyncio.gather(
        *(signer.refusal(signer.question("user-1", PIN, payment()), within_s) for _ in range(calls))
    )
    assert {refusal.reason for refusal in refusals} == {reason}


async def test_a_full_hashing_pool_costs_no_attempt(
    start: Start, owner: asyncpg.Connection
) -> None:
    signer = await start(capacity=1)
    await signer.enrol("user-1")
    with signer.hashing.place():
        refusal = await signer.refusal(signer.question("user-1", PIN, payment()))
    assert refusal.reason is Reason.OVERLOADED
    assert refusal.retry_after_ms
    assert await attempts(owner) == {}


async def test_a_deadline_that_passed_costs_no_attempt(
    signer: Signer, owner: asyncpg.Connection
) -> None:
    await signer.enrol("user-1")
    refusal = await signer.refusal(signer.question("user-1", PIN, payment()), within_s=-1)
    assert refusal.reason is Reason.DEADLINE_EXCEEDED
    assert await attempts(owner) == {}


async def test_a_caller_that_goes_away_does_not_take_the_verdict_with_it(
    signer: Signer, owner: asyncpg.Connection
) -> None:
    await signer.enrol("user-1")
    question = signer.question("user-1", PIN, payment())
    call = asyncio.create_task(signer.ask(question))
    while not await attempts(owner):
        await asyncio.sleep(0.001)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await signer.parts.under_way.drain()
    assert await attempts(owner) == {"CORRECT": 1}
    assert await signer.ask(question)


async def test_a_refusal_whose_caller_has_gone_is_no_fault(
    signer: Signer, owner: asyncpg.Connection
) -> None:
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: complaints.append(context["message"])
    )
    await signer.enrol("user-1")
    call = asyncio.create_task(signer.ask(signer.question("user-1", WRONG, payment())))
    while not await attempts(owner):
        await asyncio.sleep(0.001)
    call.cancel()
    await asyncio.wait([call])
    await signer.parts.under_way.drain()
    await asyncio.sleep(0)
    gc.collect()
    asyncio.get_running_loop().set_exception_handler(None)
    assert await attempts(owner) == {"INCORRECT": 1}
    assert complaints == []


async def test_a_connection_lost_while_the_verdict_is_recorded_does_not_lose_it(
    signer: Signer, owner: asyncpg.Connection, endpoints: Endpoints, database_name: str
) -> None:
    await signer.enrol("user-1")
    hash_now = threading.Event()
    blocking = [asyncio.create_task(signer.hashing.run(hash_now.wait)) for _ in range(2)]
    call = asyncio.create_task(signer.pay("user-1", PIN))
    while not await attempts(owner):
        await asyncio.sleep(0.01)
    with psycopg.connect(endpoints.postgres_admin_dsn, autocommit=True) as administrator:
        async with owner.transaction():
            await owner.execute("SELECT FROM signing.attempt_counters FOR UPDATE")
            hash_now.set()
            ended = None
            while ended is None:
                await asyncio.sleep(0.01)
                ended = administrator.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = %s AND usename = 'paycore_signing'"
                    " AND wait_event_type = 'Lock'",
                    (database_name,),
                ).fetchone()
    assert (await call).user_id == "user-1"
    assert await attempts(owner) == {"CORRECT": 1}
    await asyncio.gather(*blocking)


RESERVE_AND_HANG = """
import asyncio, sys
from paycore.runtime.database import open_pool
from paycore.runtime.pools import PoolName
from signing_service.store import Store
from signing_service.transactions import Transactions

async def main():
    dsn = sys.stdin.readline().strip()
    pool = await open_pool(dsn, size=1, name=PoolName.SIGNING, application="dying")
    store = Store(Transactions(pool))
    print(await store.reserve("user-1", proof=b"p" * 32, digest=b"d" * 32, fresh_until_us=0))
    sys.stdout.flush()
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_process_killed_between_reservation_and_verdict_costs_its_attempt(
    start: Start, signing_dsn: str, owner: asyncpg.Connection
) -> None:
    signer = await start(rules=AttemptRules(abandoned_after_us=400_000))
    await signer.enrol("user-1")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        RESERVE_AND_HANG,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{signing_dsn}\n".encode())
    await process.stdin.drain()
    assert b"Reserved" in await process.stdout.readline()
    process.kill()
    await process.wait()
    assert await attempts(owner) == {"PENDING": 1}

    await asyncio.sleep(0.5)
    refusal = await signer.refusal(signer.question("user-1", WRONG, payment()))
    assert refusal.metadata["attempts_left"] == "3"
    assert await attempts(owner) == {"ABANDONED": 1, "INCORRECT": 1}


async def test_attempts_of_dead_processes_lock_like_wrong_ones(
    start: Start, owner: asyncpg.Connection
) -> None:
    signer = await start(rules=AttemptRules(abandoned_after_us=2_000_000))
    await signer.enrol("user-1")
    for number in range(5):
        reserved = await signer.store.reserve(
            "user-1", proof=bytes([number]) * 32, digest=bytes(32), fresh_until_us=0
        )
        assert isinstance(reserved, Reserved)
    beyond = await signer.store.reserve(
        "user-1", proof=b"six" + bytes(29), digest=bytes(32), fresh_until_us=0
    )
    assert beyond == MustWait()
    await asyncio.sleep(2.1)
    assert await outcome(signer.pay("user-1", PIN)) == "PIN_LOCKED"
    assert await attempts(owner) == {"ABANDONED": 5}


async def test_a_verdict_that_comes_after_its_attempt_was_given_up_changes_nothing(
    start: Start, owner: asyncpg.Connection
) -> None:
    signer = await start(rules=AttemptRules(abandoned_after_us=100_000))
    await signer.enrol("user-1")
    slow = await signer.store.reserve("user-1", proof=b"p" * 32, digest=b"d" * 32, fresh_until_us=0)
    assert isinstance(slow, Reserved)
    await asyncio.sleep(0.2)
    again = await signer.store.reserve(
        "user-1", proof=b"p" * 32, digest=b"d" * 32, fresh_until_us=0
    )
    assert again == Decided(Verdict.ABANDONED, attempts_left=4, locked_until_us=0)

    async def earn(_: object) -> None:
        raise AssertionError("earned by what was given up")

    late = await signer.store.record_success("user-1", slow, earn)
    assert late == again
    assert await signer.store.find_authorization(b"d" * 32) is None


async def test_an_interrupted_proof_sent_again_asks_for_another(start: Start) -> None:
    signer = await start(rules=AttemptRules(abandoned_after_us=100_000))
    await signer.enrol("user-1")
    question = signer.question("user-1", PIN, payment())
    digest = payment_digest(paid(question))
    await signer.store.reserve(
        "user-1",
        proof=proof_hash("user-1", sealed(question), digest),
        digest=digest,
        fresh_until_us=0,
    )
    await asyncio.sleep(0.2)
    for _ in range(2):
        refusal = await signer.refusal(question)
        assert refusal.reason is Reason.AUTHORIZATION_INVALID
        assert refusal.metadata == {
            "attempts_left": "4",
            "why": "interrupted",
            "remedy": "SEAL_ANEW",
        }
    # The same PIN for the same payment, sealed once more.
    assert await outcome(signer.pay("user-1", PIN, paid(question))) == "AUTHORIZED"
    assert await outcome(signer.pay("user-1", PIN)) == "AUTHORIZED"

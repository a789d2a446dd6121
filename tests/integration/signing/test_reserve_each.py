"""Attempts of many users are reserved at once by the rules that hold for each by itself."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

import database
from tests.support.locks import until_blocked

HASH = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaA"
QUERIES = database.load("signing")


@pytest.fixture
async def connections(signing_dsn: str) -> AsyncIterator[list[asyncpg.Connection]]:
    """As of two processes."""
    connections = [await asyncpg.connect(signing_dsn) for _ in range(2)]
    yield connections
    for connection in connections:
        connection.terminate()


async def have_pins(owner: asyncpg.Connection, *users: str) -> None:
    for user in users:
        await owner.execute("INSERT INTO signing.attempt_counters (user_id) VALUES ($1)", user)
        await owner.execute(
            "INSERT INTO signing.pins (user_id, pepper_id, encoded_hash, proof)"
            " VALUES ($1, 'pepper', $2, $3)",
            user,
            HASH,
            secrets.token_bytes(32),
        )


async def reserved(
    connection: asyncpg.Connection, users: Sequence[str], proofs: Sequence[bytes] | None = None
) -> set[int]:
    """The places of those for whom an attempt was reserved."""
    rows = await QUERIES.reserve_each(
        connection,
        users=users,
        proofs=proofs or [secrets.token_bytes(32) for _ in users],
        digests=[bytes(32) for _ in users],
        fresh_until_us=[1 for _ in users],
    )
    assert all(row["encoded_hash"] == HASH for row in rows)
    return {row["place"] for row in rows}


async def test_only_of_users_about_whom_nothing_is_open(
    owner: asyncpg.Connection, connections: list[asyncpg.Connection]
) -> None:
    await have_pins(owner, "clean", "failed", "cleared", "locked", "freed", "twice")
    for user, failures, cleared, locked_us in (
        ("failed", 1, 0, 0),
        ("cleared", 3, 3, 0),
        ("locked", 5, 5, 3_600_000_000),
        ("freed", 5, 5, -1),
    ):
        await owner.execute(
            "UPDATE signing.attempt_counters SET failures = $2, cleared = $3,"
            " locked_until_us = greatest(0, signing.now_us() + $4::bigint) WHERE user_id = $1",
            user,
            failures,
            cleared,
            locked_us,
        )
    asked = ["failed", "clean", "unknown", "cleared", "locked", "freed", "twice", "twice"]
    assert await reserved(connections[0], asked) == {2, 4, 6, 7}
    rows = await owner.fetch("SELECT user_id, failures_before FROM signing.attempts")
    assert {(row["user_id"], row["failures_before"]) for row in rows} == {
        ("clean", 0),
        ("cleared", 3),
        ("freed", 5),
        ("twice", 0),
    }
    # Each has an attempt without a verdict now.
    assert await reserved(connections[1], asked) == set()


async def test_what_another_process_reserved_while_its_lock_was_awaited_is_seen(
    owner: asyncpg.Connection, connections: list[asyncpg.Connection]
) -> None:
    await have_pins(owner, "user-1")
    one, other = connections
    holding = one.transaction()
    await holding.start()
    assert await reserved(one, ["user-1"]) == {1}
    waiting = asyncio.create_task(reserved(other, ["user-1"]))
    await until_blocked(owner, other.get_server_pid(), waiting)
    await holding.commit()
    assert await waiting == set()
    assert await owner.fetchval("SELECT count(*) FROM signing.attempts") == 1


async def test_a_proof_that_has_a_verdict_is_not_evaluated_again(
    owner: asyncpg.Connection, connections: list[asyncpg.Connection]
) -> None:
    await have_pins(owner, "user-1")
    proof = secrets.token_bytes(32)
    assert await reserved(connections[0], ["user-1"], [proof]) == {1}
    await owner.execute(
        "UPDATE signing.attempts SET verdict = 'CORRECT', attempts_left = 5, locked_until_us = 0"
    )
    assert await reserved(connections[0], ["user-1"], [proof]) == set()
    assert await reserved(connections[0], ["user-1"]) == {1}


async def test_two_that_ask_for_the_same_users_in_any_order_do_not_wait_for_each_other_in_a_circle(
    owner: asyncpg.Connection, connections: list[asyncpg.Connection]
) -> None:
    users = [f"user-{number}" for number in range(20)]
    await have_pins(owner, *users)
    one, other = connections
    for _ in range(10):
        places = await asyncio.gather(reserved(one, users), reserved(other, users[::-1]))
        assert sum(map(len, places)) == len(users)
        await owner.execute("DELETE FROM signing.attempts")

"""StreamTransfers through the real gate: outcomes as they commit, in bounded memory."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import asyncpg
import grpc
import pytest

from command_service.posting import metrics
from command_service.posting.pacing import EngineLimits
from command_service.servicers.stream import StreamLimits
from paycore.client.rpcs import STREAM_TRANSFERS
from paycore.domain.grants import Grant, GrantAction, Grants, GrantScope
from paycore.domain.limits import RateLimit
from paycore.domain.rules import Rules
from paycore.runtime.channel import open_channel
from paycore.runtime.clock import SystemClock
from paycore.runtime.errors import from_rpc_error, from_status
from paycore.runtime.limits.calls import CallLimits
from paycore.runtime.limits.shared import SharedLimiter
from paycore.runtime.limits.table import LimitTable
from paycore.v1 import actor_pb2, step_up_pb2
from paycore.v1 import transfer_service_pb2 as pb2
from tests.support.callers import payment
from tests.support.command_core import CLIENT, CommandCore, command_core
from tests.support.command_core import payment as command
from tests.support.databases import OwnDatabase
from tests.support.locks import locked
from tests.support.stream_server import END, StreamServer, read_outcomes, replies_of, stream_server

RULES = Rules(
    Grants.of(
        Grant(CLIENT, action, GrantScope.OWN)
        for action in (GrantAction.TRANSFER, GrantAction.DEPOSIT, GrantAction.READ)
    ),
    {},
)
WITHIN_S = 60.0

Serve = Callable[..., AbstractAsyncContextManager[StreamServer]]


@pytest.fixture
def serve(database: OwnDatabase) -> Serve:
    """A stream server on a core of the test's own database."""
    return partial(stream_server, database.endpoints, rules=RULES)


def message(*transfers: pb2.SubmitTransferRequest) -> pb2.StreamTransfersRequest:
    return pb2.StreamTransfersRequest(transfers=transfers)


def reasons(outcomes: Sequence[Any]) -> dict[str, str]:
    """By key: POSTED, or the reason of the refusal."""
    found = {}
    for outcome in outcomes:
        error = from_status(outcome.error) if outcome.HasField("error") else None
        assert outcome.idempotency_key not in found
        found[outcome.idempotency_key] = "POSTED" if error is None else error.reason.value
    return found


async def broken(stream: Any) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """Code and reason with which the stream ends, and what was answered before."""
    answered: list[Any] = []
    try:
        while (reply := await stream.read()) is not END:
            answered.extend(reply.outcomes)
    except grpc.aio.AioRpcError as failure:
        error = from_rpc_error(failure)
        return failure.code(), error.reason.value if error else "", reasons(answered)
    raise AssertionError("the stream ended well")


async def written_until_blocked(
    stream: Any, asked: Sequence[pb2.SubmitTransferRequest], at_once: int
) -> tuple[int, asyncio.Future[None]]:
    """How many of `asked` go into the stream before a write takes a second, and that write."""
    for at in range(0, len(asked), at_once):
        # Not cancelled when it takes long: that would cancel the stream.
        writing = asyncio.ensure_future(stream.write(message(*asked[at : at + at_once])))
        done, _ = await asyncio.wait({writing}, timeout=1.0)
        if not done:
            return at, writing
    raise AssertionError("everything went in")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.01)


def held() -> float:
    """Commands that all streams of this process hold."""
    (sample,) = next(iter(metrics.STREAMED.collect())).samples
    return sample.value


async def test_each_request_gets_its_outcome_by_key(core: CommandCore, serve: Serve) -> None:
    _, *accounts = await core.open(10)
    asked = [payment(accounts[n % 10], accounts[(n + 1) % 10], 1) for n in range(1_200)]
    async with serve(core) as server, server.caller() as caller:
        stream = caller.StreamTransfers(
            message(*asked[at : at + 100]) for at in range(0, 1_200, 100)
        )
        outcomes = await replies_of(stream)
    assert reasons(outcomes) == {one.idempotency_key: "POSTED" for one in asked}
    by_key = {outcome.idempotency_key: outcome for outcome in outcomes}
    for one in asked:
        outcome = by_key[one.idempotency_key]
        assert outcome.transfer.debit_account_id == one.debit_account_id
        assert outcome.position
        assert not outcome.replayed


async def test_the_same_key_again_is_answered_from_what_it_did(
    core: CommandCore, serve: Serve
) -> None:
    _, a, b = await core.open(2)
    asked = payment(a, b, 10)
    async with serve(core) as server, server.caller() as caller:
        (first,) = await replies_of(caller.StreamTransfers(iter([message(asked)])))
        (second,) = await replies_of(caller.StreamTransfers(iter([message(asked)])))
    assert (first.replayed, second.replayed) == (False, True)
    assert first.transfer == second.transfer


async def test_an_outcome_does_not_wait_for_others_of_its_message(
    core: CommandCore, admin: asyncpg.Connection, serve: Serve
) -> None:
    _, a, b, c, d = await core.open(4)
    stuck, free = payment(a, b, 1), payment(c, d, 1)
    async with serve(core) as server, server.caller() as caller:
        stream = caller.StreamTransfers()
        async with locked(admin, a):
            await stream.write(message(payment(a, b, 1, idempotency_key="first")))
            await asyncio.sleep(0.1)
            await stream.write(message(stuck, free))
            (outcome,) = await read_outcomes(stream, 1)
            assert outcome.idempotency_key == free.idempotency_key
        rest = await read_outcomes(stream, 2)
        assert reasons(rest) == {"first": "POSTED", stuck.idempotency_key: "POSTED"}
        stream.cancel()


async def test_what_is_wrong_with_one_is_its_outcome(core: CommandCore, serve: Serve) -> None:
    _, a, b = await core.open(2, balance=100)
    keys = {
        "poor": payment(a, b, 101, idempotency_key="poor"),
        "negative": payment(a, b, -1, idempotency_key="negative"),
        "nowhere": payment(a, 999, 1, idempotency_key="nowhere"),
        "actor": payment(
            a, b, 1, idempotency_key="actor", actor=actor_pb2.Actor(user_id="someone")
        ),
        "proof": payment(a, b, 1, idempotency_key="proof", step_up=step_up_pb2.StepUp()),
        "": payment(a, b, 1, idempotency_key=""),
        "good": payment(a, b, 100, idempotency_key="good"),
    }
    async with serve(core) as server, server.caller() as caller:
        outcomes = await replies_of(caller.StreamTransfers(iter([message(*keys.values())])))
    assert reasons(outcomes) == {
        "poor": "INSUFFICIENT_FUNDS",
        "negative": "INVALID_FIELD",
        "nowhere": "ACCOUNT_NOT_FOUND",
        "actor": "NOT_PERMITTED",
        "proof": "INVALID_FIELD",
        "": "INVALID_FIELD",
        "good": "POSTED",
    }


@pytest.mark.parametrize("count", [0, 1_001])
async def test_a_message_of_the_wrong_size_ends_the_stream_after_what_came_before(
    core: CommandCore, serve: Serve, count: int
) -> None:
    _, a, b = await core.open(2)
    good = payment(a, b, 1)
    bad = message(*(payment(a, b, 1) for _ in range(count)))
    async with serve(core) as server, server.caller() as caller:
        code, reason, answered = await broken(caller.StreamTransfers(iter([message(good), bad])))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert answered == {good.idempotency_key: "POSTED"}


async def test_bytes_that_do_not_decode_end_the_stream(
    core: CommandCore, serve: Serve, database: OwnDatabase
) -> None:
    tls = database.endpoints.tls["loadtest"]
    async with (
        serve(core) as server,
        open_channel(server.target, tls, service="command") as channel,
    ):
        untyped: Any = channel
        stream = untyped.stream_stream(STREAM_TRANSFERS.path)(iter([b"\xff\xff"]))
        code, reason, _ = await broken(stream)
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


async def test_whoever_may_not_call_it_is_refused(core: CommandCore, serve: Serve) -> None:
    async with serve(core) as server, server.caller("stranger") as caller:
        code, reason, _ = await broken(caller.StreamTransfers(iter([])))
    assert (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_PERMITTED")


async def test_who_takes_no_outcomes_is_not_read_from(core: CommandCore, serve: Serve) -> None:
    _, *accounts = await core.open(10, balance=100_000)
    window, at_once = 2_000, 100
    # Long, and over a connection whose buffers do not grow, so that these hold few of them.
    asked = [
        payment(accounts[n % 10], accounts[(n + 1) % 10], 1, description="x" * 512)
        for n in range(30_000)
    ]
    limits, options = StreamLimits(window=window), (("grpc.http2.bdp_probe", 0),)
    async with serve(core, limits=limits) as server, server.caller(options=options) as caller:
        stream = caller.StreamTransfers()
        written, blocked = await written_until_blocked(stream, asked, at_once)
        assert held() <= window
        # What is beyond the window is in the transport and the sockets, which are bounded too.
        assert window <= written < len(asked) // 2
        assert len(reasons(await read_outcomes(stream, written))) >= written
        await blocked
        stream.cancel()
    await until(lambda: held() == 0)


async def test_who_goes_away_leaves_nothing_behind_and_keeps_what_was_told(
    core: CommandCore, admin: asyncpg.Connection, serve: Serve
) -> None:
    _, *accounts = await core.open(10, balance=100_000)
    before = len(asyncio.all_tasks())
    told: list[Any] = []
    async with serve(core) as server:
        open_before = len(asyncio.all_tasks())
        for _ in range(5):
            async with server.caller() as caller:
                stream = caller.StreamTransfers()
                for _ in range(5):
                    batch = [
                        payment(accounts[n % 10], accounts[(n + 1) % 10], 1) for n in range(300)
                    ]
                    await stream.write(message(*batch))
                told += await read_outcomes(stream, 100)
                stream.cancel()
        await until(lambda: held() == 0 and len(asyncio.all_tasks()) <= open_before)
        await until(lambda: not len(core.engine._queue))
    await until(lambda: len(asyncio.all_tasks()) <= before)
    stored = await admin.fetchval(
        "SELECT count(*) FROM ledger.idempotency_keys WHERE key = ANY($1)",
        [outcome.idempotency_key for outcome in told],
    )
    assert stored == len(told) == len({outcome.idempotency_key for outcome in told})


async def test_without_room_in_the_queue_a_stream_waits_and_calls_do_not(
    database: OwnDatabase, admin: asyncpg.Connection, serve: Serve
) -> None:
    limits = EngineLimits(queue=1_000, batch=100)
    async with command_core(database.dsn("command"), limits=limits) as core:
        _, a, b, c, d = await core.open(4, balance=100_000)
        asked = [payment(a, b, 1) for _ in range(1_500)]
        async with serve(core) as server, server.caller() as caller:
            stream = caller.StreamTransfers()
            async with locked(admin, a):
                await stream.write(message(*asked[:1_000]))
                await stream.write(message(*asked[1_000:]))
                await until(lambda: held() == 1_500)
                await asyncio.sleep(0.2)
                # A tenth is left for calls of the same client.
                assert len(core.engine._queue) <= 500
                await core.submit(*(command(c, d, 1) for _ in range(10)))
            outcomes = await read_outcomes(stream, 1_500)
            stream.cancel()
        assert set(reasons(outcomes).values()) == {"POSTED"}
        assert len(outcomes) == 1_500


async def test_what_waited_too_long_is_not_posted(
    core: CommandCore, admin: asyncpg.Connection, serve: Serve
) -> None:
    _, a, b = await core.open(2)
    limits = StreamLimits(patience_s=0.3)
    async with serve(core, limits=limits) as server, server.caller() as caller:
        stream = caller.StreamTransfers()
        async with locked(admin, a):
            await stream.write(message(payment(a, b, 1, idempotency_key="late")))
            await asyncio.sleep(0.5)
        (outcome,) = await read_outcomes(stream, 1)
        assert reasons([outcome]) == {"late": "DEADLINE_EXCEEDED"}
        await stream.write(message(payment(a, b, 1, idempotency_key="next")))
        (outcome,) = await read_outcomes(stream, 1)
        assert reasons([outcome]) == {"next": "POSTED"}
        stream.cancel()
    assert await admin.fetchval("SELECT version FROM ledger.accounts WHERE id = $1", a) == 2


async def test_a_client_has_so_many_streams_and_no_more(core: CommandCore, serve: Serve) -> None:
    _, a, b = await core.open(2)
    async with serve(core, limits=StreamLimits(per_client=2)) as server, server.caller() as caller:
        streams = [caller.StreamTransfers() for _ in range(2)]
        for stream in streams:
            await stream.write(message(payment(a, b, 1)))
            await read_outcomes(stream, 1)
        code, reason, _ = await broken(caller.StreamTransfers(iter([])))
        assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        await streams[0].done_writing()
        assert await replies_of(streams[0]) == []
        assert await replies_of(caller.StreamTransfers(iter([]))) == []
        streams[1].cancel()


async def test_who_is_over_its_rate_is_read_from_more_slowly(
    core: CommandCore, serve: Serve, database: OwnDatabase
) -> None:
    _, a, b = await core.open(2)
    limiter = SharedLimiter(database.endpoints.redis_url, SystemClock())
    table = LimitTable.of_client_rate(RateLimit(per_s=200, burst=100))
    # A secret of its own: nobody else counts under these names.
    limits = CallLimits(lambda: table, limiter, secrets.token_bytes(32), lambda _: True)
    await limiter.start()
    try:
        async with serve(core, limiter=limits) as server, server.caller() as caller:
            began = time.monotonic()
            asked = [message(*(payment(a, b, 1) for _ in range(20))) for _ in range(12)]
            outcomes = await replies_of(caller.StreamTransfers(iter(asked)))
            took_s = time.monotonic() - began
    finally:
        await limiter.stop()
    assert set(reasons(outcomes).values()) == {"POSTED"}
    assert len(outcomes) == 240
    assert took_s > 0.1


async def test_a_process_that_drains_answers_what_it_read_and_says_so(
    core: CommandCore, admin: asyncpg.Connection, serve: Serve
) -> None:
    _, a, b = await core.open(2)
    async with serve(core) as server, server.caller() as caller:
        stream, idle = caller.StreamTransfers(), caller.StreamTransfers()
        await idle.write(message(payment(a, b, 1)))
        await read_outcomes(idle, 1)
        async with locked(admin, a):
            await stream.write(message(payment(a, b, 1, idempotency_key="read")))
            await until(lambda: held() == 1)
            stopping = asyncio.create_task(server.server.stop(5))
            # Who has nothing under way hears of it at once.
            code, reason, answered = await broken(idle)
            assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
            assert answered == {}
            await stream.write(message(payment(a, b, 1, idempotency_key="not read")))
            await asyncio.sleep(0.2)
            assert not stopping.done()
        code, reason, answered = await broken(stream)
        assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
        assert answered == {"read": "POSTED"}
        began = time.monotonic()
        await stopping
        assert time.monotonic() - began < 4
    assert await admin.fetchval("SELECT version FROM ledger.accounts WHERE id = $1", a) == 3

"""WatchTransfers through the whole stack: several command processes, the query service, mTLS."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import asyncpg
import grpc
import pytest

from deploy.local import LocalStack
from paycore.client import Money, PaycoreClient, Timeouts, TlsFiles, TransferOrder
from paycore.client.blocking import BlockingPaycoreClient
from paycore.client.errors import NotPermittedError
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.position import Position
from paycore.runtime.errors import from_rpc_error
from paycore.v1 import actor_pb2, policy_service_pb2, transfer_pb2
from paycore.v1 import history_service_pb2 as pb
from paycore.v1 import personal_data_service_pb2 as personal_pb2
from paycore.v1 import transfer_service_pb2 as transfers_pb2
from tests.contract.conftest import World
from tests.support.callers import TIMEOUT_S, Caller, Callers, payment
from tests.support.load import patient_client

WITHIN_S = 60.0
NARROW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536))
"""Have a connection hold 64 KiB that nobody has read; by itself it may grow to hold megabytes."""

END: object = grpc.aio.EOF  # type: ignore[attr-defined]  # stubs lack it

Response = pb.WatchTransfersResponse


@asynccontextmanager
async def watching(
    caller: Caller, account: int, start: str = "", **fields: Any
) -> AsyncIterator[Any]:
    """A call that has been answered for the first time."""
    request = pb.WatchTransfersRequest(account_id=account, start_position=start, **fields)
    call = caller.history.WatchTransfers(request)
    try:
        async with asyncio.timeout(WITHIN_S):
            yield call
    finally:
        call.cancel()


async def read(call: Any, count: int) -> list[Response]:
    """The next `count` responses with a transfer."""
    found: list[Response] = []
    while len(found) < count:
        response = await call.read()
        assert response is not END, found
        if response.HasField("transfer"):
            found.append(response)
    return found


async def refusal(call: Any) -> PaycoreError:
    """The error with which the call ends."""
    _, failure = await all_of(call)
    error = from_rpc_error(failure)
    assert error is not None, failure
    return error


async def all_of(call: Any) -> tuple[list[Response], grpc.aio.AioRpcError]:
    """All that is read until the call fails."""
    found: list[Response] = []
    try:
        while (response := await call.read()) is not END:
            found.append(response)
    except grpc.aio.AioRpcError as failure:
        return found, failure
    raise AssertionError("the call ended well")


async def refused(caller: Caller, account: int, start: str = "", **fields: Any) -> PaycoreError:
    async with watching(caller, account, start, **fields) as call:
        return await refusal(call)


async def entries(tables: asyncpg.Connection, account: int) -> list[int]:
    """The account's transfers, by version."""
    rows = await tables.fetch(
        "SELECT transfer FROM ledger.entries WHERE account = $1 ORDER BY version", account
    )
    return [row["transfer"] for row in rows]


async def declines(tables: asyncpg.Connection, account: int) -> list[int]:
    """The account's declines, by the journal."""
    rows = await tables.fetch(
        "SELECT named AS id FROM ledger.journal CROSS JOIN unnest(declines) AS named"
        " JOIN ledger.declines ON declines.id = named WHERE debit_account = $1"
        " ORDER BY journal.xid, named",
        account,
    )
    return [row["id"] for row in rows]


def versions(responses: list[Response], account: int) -> list[int]:
    return [
        one.transfer.debit_version
        if one.transfer.debit_account_id == account
        else one.transfer.credit_version
        for one in responses
        if one.transfer.state != transfer_pb2.TRANSFER_STATE_FAILED
    ]


async def pay_all_at_once(callers: Callers, target: int, others: list[int], each: int) -> None:
    """Every one of `others` pays and is paid, over connections to any of the processes."""

    async def pay(other: int) -> None:
        caller = callers.another("app")
        for turn in range(each):
            pair = (other, target) if turn % 2 else (target, other)
            await caller.submit(payment(*pair, 1))

    await asyncio.gather(*map(pay, others))


async def test_entries_come_by_version_while_many_write_through_several_processes(
    callers: Callers, app: Caller, tables: asyncpg.Connection
) -> None:
    _, target, *others = await app.open(13, balance=1_000)
    async with watching(app, target) as call:
        await call.read()
        _, found = await asyncio.gather(
            pay_all_at_once(callers, target, others, 20), read(call, 12 * 20)
        )
    assert versions(found, target) == list(range(2, 2 + 240))
    assert [one.transfer.id for one in found] == (await entries(tables, target))[1:]


async def test_the_first_response_comes_at_once_and_the_next_within_seconds(app: Caller) -> None:
    _, account = await app.open(1)
    async with watching(app, account) as call, asyncio.timeout(25):
        first = await call.read()
        assert first.HasField("heartbeat")
        assert Position.decode(first.heartbeat.position)
        await call.read()
        later = await call.read()
        assert later.HasField("heartbeat")
        assert later.resume_token


async def test_a_watch_that_is_cut_at_random_misses_nothing_and_doubles_nothing(
    callers: Callers, app: Caller, tables: asyncpg.Connection, rng: random.Random
) -> None:
    _, target, *others = await app.open(7, balance=1_000)
    first = await app.submit(payment(others[0], target, 1))
    before = len(await entries(tables, target))
    found: list[Response] = []
    token = first.position

    async def pay() -> None:
        for _ in range(15):
            await pay_all_at_once(callers, target, others, 2)
            await app.transfers.SubmitTransfer(payment(others[0], target, 1), timeout=TIMEOUT_S)
            # More than the account has: a stored decline.
            with pytest.raises(grpc.aio.AioRpcError):
                await app.submit(payment(target, others[0], 90_000))

    paying = asyncio.create_task(pay())
    for _ in range(50):
        async with watching(app, target, token, include_declines=True) as call:
            for _ in range(rng.randint(1, 6)):
                response = await call.read()
                token = response.resume_token
                if response.HasField("transfer"):
                    found.append(response)
    await paying
    all_entries, all_declines = await entries(tables, target), await declines(tables, target)
    missing = len(all_entries) - before + len(all_declines) - len(found)
    async with watching(app, target, token, include_declines=True) as call:
        found += await read(call, missing)
        last = await call.read()
        assert last.HasField("heartbeat")
    declined = [
        one.transfer.id for one in found if one.transfer.state == transfer_pb2.TRANSFER_STATE_FAILED
    ]
    assert declined == all_declines
    assert len(all_declines) == 15
    assert [one.transfer.id for one in found if one.transfer.id not in declined] == (
        all_entries[before:]
    )


async def test_holds_and_what_follows_come_as_they_were_posted(
    app: Caller, stack_client: PaycoreClient
) -> None:
    _, payer, payee = await app.open(2, balance=1_000)
    paid = await stack_client.submit_transfer(TransferOrder(payer, payee, Money(5, "EUR")))
    refunded = await stack_client.refund_transfer(paid.transfer.id)
    async with aclosing(stack_client.watch_transfers(payer, start=paid.position)) as watch:
        async with asyncio.timeout(WITHIN_S):
            async for transfer in watch:
                assert transfer.id == refunded.transfer.id
                assert transfer.parent_id == paid.transfer.id
                break


@pytest.fixture
async def stack_client(services: LocalStack) -> AsyncIterator[PaycoreClient]:
    async with patient_client(services.endpoints, "app") as client:
        yield client


async def test_tokens_are_good_for_their_watch_alone(
    callers: Callers, app: Caller, world: World
) -> None:
    async with watching(app, world.payer) as call:
        token = (await call.read()).resume_token
    async with watching(app, world.payer, token) as call:
        assert (await call.read()).resume_token == token
    altered = token[:-1] + ("A" if token[-1] != "A" else "B")
    operator = callers.of("operator")
    for caller, account, start, declines_too in (
        (app, world.payee, token, False),
        (app, world.payer, token, True),
        (operator, world.payer, token, False),
        (app, world.payer, altered, False),
        (app, world.payer, "x" * len(token), False),
        (app, world.payer, "é" * len(token), False),
        (app, world.payer, "nonsense", False),
        (app, world.payer, Position(1, 2**64 - 1, 1).encode(), False),
    ):
        error = await refused(caller, account, start, include_declines=declines_too)
        assert error.reason is Reason.INVALID_FIELD
        assert [bad.field for bad in error.violations] == ["start_position"]


async def test_a_position_of_another_epoch_is_refused(app: Caller, world: World) -> None:
    error = await refused(app, world.payer, Position(7, 1, 1).encode())
    assert error.reason is Reason.HISTORY_REPLACED


async def test_only_who_may_read_the_account_may_watch_it(
    callers: Callers, app: Caller, world: World
) -> None:
    assert (await refused(app, world.foreign)).reason is Reason.NOT_PERMITTED
    assert (await refused(callers.of("stranger"), world.payer)).reason is Reason.NOT_PERMITTED
    assert (await refused(app, 99)).reason is Reason.ACCOUNT_NOT_FOUND
    assert (await refused(app, 0)).reason is Reason.INVALID_FIELD


async def test_a_grant_that_is_taken_away_ends_the_watch_within_seconds(
    callers: Callers, app: Caller, services: LocalStack
) -> None:
    operator = callers.of("operator")
    institution = f"bank-{secrets.token_hex(4)}"
    _, account = await callers.of("loadtest").open(1, institution=institution)
    grant = policy_service_pb2.Grant(
        client="app",
        accounts=policy_service_pb2.AccountGrant(
            action=policy_service_pb2.GRANT_ACTION_READ,
            scope=policy_service_pb2.GRANT_SCOPE_INSTITUTION,
            institution=institution,
        ),
    )
    give = policy_service_pb2.GiveGrantRequest(
        idempotency_key=secrets.token_hex(8), grant=grant, reason="for the test"
    )
    await operator.policy.GiveGrant(give, timeout=TIMEOUT_S)
    async with asyncio.timeout(60):
        while (error := await first_error(app, account)) is not None:
            assert error.reason is Reason.NOT_PERMITTED
            await asyncio.sleep(0.2)
    async with watching(app, account) as call:
        await call.read()
        take = policy_service_pb2.TakeGrantRequest(
            idempotency_key=secrets.token_hex(8), grant=grant, reason="for the test"
        )
        await operator.policy.TakeGrant(take, timeout=TIMEOUT_S)
        async with asyncio.timeout(60):
            assert (await refusal(call)).reason is Reason.NOT_PERMITTED
    async with patient_client(services.endpoints, "app") as client:
        with pytest.raises(NotPermittedError):
            await anext(aiter(client.watch_transfers(account)))


async def first_error(caller: Caller, account: int) -> PaycoreError | None:
    async with watching(caller, account) as call:
        try:
            await call.read()
        except grpc.aio.AioRpcError as error:
            return from_rpc_error(error)
        return None


async def test_the_payees_side_is_shown_no_more_than_in_lists(
    callers: Callers, app: Caller
) -> None:
    _, payer = await app.open(1, balance=1_000)
    loadtest = callers.of("loadtest")
    _, payee = await loadtest.open(1)
    async with watching(loadtest, payee) as received, watching(app, payer) as paid:
        await received.read()
        await paid.read()
        await app.submit(
            payment(
                payer,
                payee,
                5,
                description="rent",
                metadata={"flat": "4b"},
                actor=actor_pb2.Actor(user_id="someone"),
            )
        )
        (theirs,), (ours,) = await read(received, 1), await read(paid, 1)
    assert (ours.transfer.description, dict(ours.transfer.metadata)) == ("rent", {"flat": "4b"})
    assert ours.transfer.actor.user_id == "someone"
    assert theirs.transfer.description == "rent"
    assert not theirs.transfer.metadata
    assert not theirs.transfer.HasField("actor")
    assert not theirs.transfer.HasField("debit_balance_after")
    assert theirs.transfer.credit_balance_after == 5
    assert not ours.transfer.HasField("credit_balance_after")


async def test_what_was_erased_is_shown_as_erased(callers: Callers, app: Caller) -> None:
    user = f"u-{secrets.token_hex(6)}"
    _, payer, payee = await app.open(2, balance=1_000, owner=user)
    opened = await app.submit(payment(payer, payee, 1))
    await app.submit(payment(payer, payee, 5, description="rent", metadata={"flat": "4b"}))
    async with watching(app, payer, opened.position) as call:
        (before,) = await read(call, 1)
    assert before.transfer.description == "rent"
    request = personal_pb2.EraseSubjectRequest(subject=user, reason="asked for")
    await callers.of("operator").personal.EraseSubject(request, timeout=TIMEOUT_S)
    async with watching(app, payer, opened.position) as call:
        (after,) = await read(call, 1)
    assert after.transfer.id == before.transfer.id
    assert after.transfer.details_state == transfer_pb2.DETAILS_STATE_ERASED
    assert (after.transfer.description, dict(after.transfer.metadata)) == ("", {})


async def test_a_slow_reader_is_told_to_go_on_from_its_place(
    callers: Callers, app: Caller, tables: asyncpg.Connection
) -> None:
    outside, target = await app.open(1)
    note = "x" * 250
    async with watching(callers.another("app", NARROW), target) as call:
        await call.read()
        # More than the way to the reader holds, and what may wait for it.
        for _ in range(8):
            await app.transfers.SubmitTransfers(
                many_deposits(outside, target, 1_000, note), timeout=TIMEOUT_S
            )
        responses, failure = await all_of(call)
    error = from_rpc_error(failure)
    assert error is not None
    assert error.reason is Reason.WATCHER_BEHIND
    assert failure.code() is grpc.StatusCode.ABORTED
    token = responses[-1].resume_token
    assert error.metadata["resume_token"] == token
    found = [one for one in responses if one.HasField("transfer")]
    assert error.retry_after_ms
    async with watching(app, target, token) as call:
        found += await read(call, 8_000 - len(found))
    assert [one.transfer.id for one in found] == await entries(tables, target)


def many_deposits(outside: int, target: int, count: int, note: str) -> Any:
    return transfers_pb2.SubmitTransfersRequest(
        transfers=[
            payment(
                outside,
                target,
                1,
                kind=transfer_pb2.TRANSFER_KIND_DEPOSIT,
                description=note,
            )
            for _ in range(count)
        ]
    )


async def test_many_watch_at_once(
    callers: Callers, app: Caller, tables: asyncpg.Connection
) -> None:
    _, target, *others = await app.open(41, balance=1_000)
    accounts = [target] * 60 + others

    async def watch(account: int, count: int) -> list[int]:
        async with watching(app, account) as call:
            await call.read()
            begun.release()
            return [one.transfer.id for one in await read(call, count)]

    begun = asyncio.Semaphore(0)
    tasks = [asyncio.create_task(watch(one, 40 * 4 if one == target else 4)) for one in accounts]
    for _ in tasks:
        await begun.acquire()
    await pay_all_at_once(callers, target, others, 4)
    for account, found in zip(accounts, await asyncio.gather(*tasks), strict=True):
        assert found == (await entries(tables, account))[1:]


async def test_the_blocking_client_watches_too(
    services: LocalStack, app: Caller, tables: asyncpg.Connection
) -> None:
    _, payer, payee = await app.open(2, balance=1_000)
    endpoints = services.endpoints
    files: TlsFiles = endpoints.tls["app"]

    def watch() -> list[int]:
        with BlockingPaycoreClient.connect(
            endpoints.command_target,
            query_target=endpoints.query_target,
            tls=files,
            timeouts=Timeouts(total_s=60),
        ) as client:
            order = TransferOrder(payer, payee, Money(1, "EUR"))
            first = client.submit_transfer(order)
            found: list[int] = []
            watching = client.watch_transfers(payee, start=first.position)
            for _ in range(3):
                client.submit_transfer(order)
            for transfer in watching:
                found.append(transfer.id)
                if len(found) == 3:
                    watching.close()
            return found

    assert await asyncio.to_thread(watch) == (await entries(tables, payee))[2:]

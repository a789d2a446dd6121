"""However many guess at once, whatever dies meanwhile: no sixth PIN is looked at."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
import redis.asyncio
from google.protobuf.timestamp_pb2 import Timestamp

from deploy.local import Endpoints
from paycore.client.sealing import SealingKey
from paycore.domain.pin import Pin
from paycore.domain.step_up import PaymentIntent
from paycore.runtime.channel import open_channel
from paycore.runtime.errors import from_rpc_error
from paycore.signing.v1 import signing_service_pb2 as pb
from paycore.signing.v1 import signing_service_pb2_grpc as pb_grpc
from paycore.v1 import money_pb2, step_up_pb2, transfer_pb2
from tests.integration.signing.process import SigningProcess
from tests.integration.signing.signer import PIN, Signer, hashes, payment
from tests.integration.signing.streaming import as_request, numbered, said, signer_server

GUESSES = 200
USER = "user-1"


@pytest.fixture
async def processes(
    endpoints: Endpoints, signing_dsn: str, tmp_path: Path
) -> AsyncIterator[list[SigningProcess]]:
    """Two processes with one keystore and one database."""
    started = [SigningProcess(endpoints, signing_dsn, tmp_path) for _ in range(2)]
    for process in started:
        await process.start()
    yield started
    for process in started:
        await process.kill()


def request(sealing: SealingKey, pin: Pin, intent: PaymentIntent) -> pb.AuthorizeRequest:
    sealed = sealing.for_payment(pin, intent)
    sign_time = Timestamp()
    sign_time.FromMicroseconds(intent.signed_at_us)
    return pb.AuthorizeRequest(
        user_id=USER,
        payment=pb.PaymentIntent(
            kind=transfer_pb2.TRANSFER_KIND_TRANSFER,
            debit_account_id=intent.debit_account,
            credit_account_id=intent.credit_account,
            amount=money_pb2.Money(minor_units=intent.amount, currency=intent.currency),
            client=intent.client,
            idempotency_key=intent.idempotency_key,
        ),
        step_up=step_up_pb2.StepUp(
            sign_time=sign_time, sealed_pin=step_up_pb2.SealedPin(**sealed._asdict())
        ),
    )


async def ask(stub: Any, asked: pb.AuthorizeRequest) -> str:
    try:
        await stub.Authorize(asked, timeout=20)
    except grpc.RpcError as error:
        refusal = from_rpc_error(error)
        return "GONE" if refusal is None else refusal.reason.value
    return "AUTHORIZED"


async def test_two_hundred_guesses_two_processes_one_killed_and_no_redis_get_five(
    endpoints: Endpoints, processes: list[SigningProcess], owner: asyncpg.Connection
) -> None:
    async with (
        open_channel(processes[0].target, endpoints.tls["command"], service="signing") as first,
        open_channel(processes[1].target, endpoints.tls["command"], service="signing") as second,
        open_channel(processes[1].target, endpoints.tls["app"], service="signing") as app,
    ):
        keys = await pb_grpc.SigningServiceStub(app).GetPublicKeys(
            pb.GetPublicKeysRequest(), timeout=10
        )
        (key,) = (key for key in keys.keys if key.purpose == pb.KEY_PURPOSE_SEALING and key.current)
        sealing = SealingKey(key.key_id, key.public_key)
        sealed = sealing.for_enrolment(PIN, USER)
        await pb_grpc.SigningServiceStub(app).EnrollPin(
            pb.EnrollPinRequest(user_id=USER, sealed_pin=step_up_pb2.SealedPin(**sealed._asdict())),
            timeout=10,
        )
        stubs = [pb_grpc.SigningServiceStub(channel) for channel in (first, second)]
        seen: Counter[str] = Counter()

        async def guess(number: int) -> None:
            """One wrong PIN, sent again, and to the other process, until it has its verdict."""
            asked = request(sealing, Pin(f"{800_013 + number}"), payment())
            for attempt in range(100):
                outcome = await ask(stubs[(number + attempt) % 2], asked)
                seen[outcome] += 1
                if outcome not in ("GONE", "OVERLOADED", "CONTENTION"):
                    return
                await asyncio.sleep(0.05)
            raise AssertionError("no verdict")

        async def disturb() -> None:
            while not await owner.fetchval("SELECT count(*) FROM signing.attempts"):
                await asyncio.sleep(0.001)
            await processes[0].kill()
            async with redis.asyncio.from_url(endpoints.redis_url) as store:
                await store.flushall()
            # What the dead process left behind would be given up in 15 s: rather at once.
            await owner.execute(
                "UPDATE signing.attempts SET started_at_us = 0"
                " WHERE verdict IS NULL AND started_at_us < signing.now_us() - 1000000"
            )
            await asyncio.sleep(1.5)
            await owner.execute(
                "UPDATE signing.attempts SET started_at_us = 0"
                " WHERE verdict IS NULL AND started_at_us < signing.now_us() - 1000000"
            )

        await asyncio.gather(disturb(), *(guess(number) for number in range(GUESSES)))
        assert seen["GONE"] > 0
        assert seen["AUTHORIZED"] == 0
        # Each PIN that was looked at was reserved before, as a row of its own.
        assert await owner.fetchval("SELECT count(*) FROM signing.attempts") == 5
        assert seen["PIN_LOCKED"] >= GUESSES - 5
        assert await ask(stubs[1], request(sealing, PIN, payment())) == "PIN_LOCKED"
        assert await owner.fetchval("SELECT count(*) FROM signing.authorizations") == 0


async def test_two_hundred_guesses_in_one_message_get_five(
    endpoints: Endpoints, signer: Signer, owner: asyncpg.Connection
) -> None:
    await signer.enrol(USER)
    guesses = [
        as_request(signer.question(USER, Pin(f"{800_013 + number}"), payment()))
        for number in range(GUESSES)
    ]
    before = hashes()
    async with signer_server(endpoints, signer) as server, server.asking() as asking:
        await asking.send(numbered(number, one) for number, one in enumerate(guesses, 1))
        seen = Counter(map(said, await asking.take(GUESSES)))
        assert await owner.fetchval("SELECT count(*) FROM signing.attempts") == 5
        assert hashes() - before == 5
        assert seen["PIN_INCORRECT"] == 5
        assert set(seen) <= {"PIN_INCORRECT", "PIN_LOCKED", "OVERLOADED"}
        right = as_request(signer.question(USER, PIN, payment()))
        await asking.send([numbered(GUESSES + 1, right)])
        assert said(await asking.next()) == "PIN_LOCKED"

"""The signing service goes and comes back: who needs it hears so at once, others go on."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from deploy.local import LocalStack
from paycore.client import PaycoreClient, Pin
from paycore.client.sealing import SealingKey
from paycore.domain.step_up import PaymentIntent
from paycore.runtime.channel import open_channel
from paycore.signing.v1 import signing_service_pb2
from paycore.signing.v1.signing_service_pb2_grpc import SigningServiceStub
from paycore.v1 import step_up_pb2
from tests.integration.signing.process import SigningProcess
from tests.support.callers import Caller, Callers, Refusal, payment, refusal_of
from tests.support.command_process import command_process
from tests.support.databases import OwnDatabase

ABOVE_THRESHOLD = 150_000
PIN = Pin("739154")
AT_ONCE_S = 0.1
"""Longest that a refusal takes while the breaker is open, beyond what calls take that need nobody
else: the machine may be busy."""

BACK_WITHIN_S = 1.0
"""Within which its return is noticed, beyond what ten approved payments take."""


@dataclass
class Field:
    """A payer with a PIN, and the services."""

    signer: SigningProcess
    sealing: SealingKey
    app: Caller
    payer: int
    payee: int

    async def approved(self) -> Refusal | None:
        """Pay what needs approval, and has it."""
        intent = PaymentIntent(
            kind="TRANSFER",
            debit_account=self.payer,
            credit_account=self.payee,
            amount=ABOVE_THRESHOLD,
            currency="EUR",
            client="app",
            idempotency_key=secrets.token_hex(12),
            signed_at_us=time.time_ns() // 1_000,
        )
        sealed = self.sealing.for_payment(PIN, intent)
        step_up = step_up_pb2.StepUp(sealed_pin=step_up_pb2.SealedPin(**sealed._asdict()))
        step_up.sign_time.FromMicroseconds(intent.signed_at_us)
        request = payment(
            self.payer,
            self.payee,
            ABOVE_THRESHOLD,
            idempotency_key=intent.idempotency_key,
            step_up=step_up,
        )
        return await refusal_of(self.app.submit(request))

    async def refused(self) -> float:
        """As `approved`, which must be refused for want of the signing service; how soon it was."""
        began = time.monotonic()
        refusal = await self.approved()
        took_s = time.monotonic() - began
        assert refusal is not None
        assert refusal.code is grpc.StatusCode.UNAVAILABLE
        assert refusal.reason == "SIGNER_UNAVAILABLE"
        assert refusal.error is not None
        assert refusal.error.retry_after_ms
        return took_s

    async def is_open(self) -> None:
        """Whoever asks is refused at once, at the same time too, and small payments go on."""
        usual_s = await asyncio.gather(*(self.small() for _ in range(10)))
        waits_s = await asyncio.gather(*(self.refused() for _ in range(10)))
        assert max(waits_s) < AT_ONCE_S + 2 * max(usual_s)

    async def small(self) -> float:
        """Pay what needs no approval; how long that took."""
        began = time.monotonic()
        assert await refusal_of(self.app.submit(payment(self.payer, self.payee, 1))) is None
        return time.monotonic() - began

    async def until_back(self) -> float:
        """Ask until it is answered; how long that took."""
        began = time.monotonic()
        while (refusal := await self.approved()) is not None:
            assert refusal.reason == "SIGNER_UNAVAILABLE"
            assert time.monotonic() - began < 60
            await asyncio.sleep(0.02)
        return time.monotonic() - began


@pytest.fixture
async def field_of_play(
    services: LocalStack, database: OwnDatabase, tmp_path: Path
) -> AsyncIterator[Field]:
    endpoints = services.endpoints
    signer = SigningProcess(endpoints, database.dsn("signing"), tmp_path)
    await signer.start()
    try:
        async with (
            command_process(
                endpoints,
                tmp_path / "command.log",
                POSTGRES_DSN=database.dsn("command"),
                SIGNING_TARGET=signer.target,
            ) as (target, _),
            Callers(endpoints, command_target=target) as callers,
            PaycoreClient(
                target,
                query_target=endpoints.target("query"),
                signing_target=signer.target,
                tls=endpoints.tls["app"],
            ) as client,
            open_channel(signer.target, endpoints.tls["app"], service="signing") as channel,
        ):
            app = callers.of("app")
            user = f"user-{secrets.token_hex(6)}"
            outside, payer, payee = await app.open(2, owner=user)
            await app.fund(outside, [payer], 100_000_000, "EUR")
            await client.enroll_pin(user, PIN)
            reply = await SigningServiceStub(channel).GetPublicKeys(
                signing_service_pb2.GetPublicKeysRequest(), timeout=10
            )
            (key,) = (
                key
                for key in reply.keys
                if key.purpose == signing_service_pb2.KEY_PURPOSE_SEALING and key.current
            )
            field = Field(signer, SealingKey(key.key_id, key.public_key), app, payer, payee)
            assert await field.approved() is None
            yield field
    finally:
        await signer.kill()


async def test_its_end_and_its_return_are_noticed(field_of_play: Field) -> None:
    field = field_of_play
    began = time.monotonic()
    for _ in range(10):
        assert await field.approved() is None
    back_within_s = BACK_WITHIN_S + time.monotonic() - began
    await field.signer.kill()
    # The first who ask find out.
    await asyncio.gather(*(field.refused() for _ in range(6)))
    await field.is_open()
    await field.signer.start()
    killed_s = await field.until_back()

    process = field.signer.process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    try:
        await asyncio.gather(*(field.refused() for _ in range(6)))
        await field.is_open()
    finally:
        os.kill(process.pid, signal.SIGCONT)
    stopped_s = await field.until_back()
    print(f"noticed after {killed_s:.2f} s (killed, started), {stopped_s:.2f} s (stopped, resumed)")
    assert max(killed_s, stopped_s) < back_within_s
    # All of it is well again: many at once, none refused.
    assert await asyncio.gather(*(field.approved() for _ in range(8))) == [None] * 8

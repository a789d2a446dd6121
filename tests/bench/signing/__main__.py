"""`python -m tests.bench.signing`: approvals a second through gRPC, by device and by PIN."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from argon2.low_level import Type, hash_secret
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import Console
from rich.table import Table

from deploy.local import Endpoints, LocalStack
from paycore.client.sealing import SealingKey
from paycore.domain.device_key import DeviceAlgorithm
from paycore.domain.enrolment import device_enrolment_digest
from paycore.domain.pin import Pin
from paycore.domain.step_up import PaymentIntent, payment_digest
from paycore.runtime.channel import open_channel
from paycore.signing.v1 import signing_service_pb2 as pb
from paycore.signing.v1 import signing_service_pb2_grpc as pb_grpc
from paycore.v1 import step_up_pb2, transfer_pb2
from signing_service.pins import HASH_BYTES, LANES, MEMORY_KIB, PASSES, SALT_BYTES

USERS = 64
IN_FLIGHT = 32
HASHES = 200
PIN = Pin("739164")
TIMEOUT_S = 30

app = typer.Typer(add_completion=False)
console = Console()


def argon2id_alone(threads: int) -> float:
    """Hashes a second, on as many threads as the service has."""

    def work(_: int) -> None:
        hash_secret(b"p" * 32, b"s" * SALT_BYTES, PASSES, MEMORY_KIB, LANES, HASH_BYTES, Type.ID)

    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        for _ in pool.map(work, range(HASHES)):
            pass
        return HASHES / (time.perf_counter() - began)


def _question(user: str, number: int) -> tuple[PaymentIntent, pb.AuthorizeRequest]:
    now_us = time.time_ns() // 1_000
    intent = PaymentIntent("TRANSFER", 11, 12, 100, "EUR", "bench", f"{user}-{number}", now_us)
    request = pb.AuthorizeRequest(user_id=user)
    request.payment.kind = transfer_pb2.TRANSFER_KIND_TRANSFER
    request.payment.debit_account_id, request.payment.credit_account_id = 11, 12
    request.payment.amount.minor_units, request.payment.amount.currency = 100, "EUR"
    request.payment.client, request.payment.idempotency_key = "bench", intent.idempotency_key
    request.step_up.sign_time.FromMicroseconds(now_us)
    return intent, request


class _Payer:
    """A user with a PIN and a device."""

    def __init__(self, number: int) -> None:
        self.user = f"bench-{number}"
        self.key = Ed25519PrivateKey.generate()
        self.device_id = ""

    async def enrol(self, stub: Any, sealing: SealingKey) -> None:
        sealed = sealing.for_enrolment(PIN, self.user)
        await stub.EnrollPin(
            pb.EnrollPinRequest(
                user_id=self.user, sealed_pin=step_up_pb2.SealedPin(**sealed._asdict())
            ),
            timeout=TIMEOUT_S,
        )
        reply = await stub.CreateChallenge(
            pb.CreateChallengeRequest(user_id=self.user), timeout=TIMEOUT_S
        )
        public_key = self.key.public_key().public_bytes_raw()
        about = (self.user, reply.challenge, DeviceAlgorithm.ED25519, public_key)
        sealed = sealing.for_device(PIN, *about)
        enrolled = await stub.EnrollDevice(
            pb.EnrollDeviceRequest(
                user_id=self.user,
                challenge=reply.challenge,
                key=pb.DeviceKey(
                    algorithm=pb.DEVICE_ALGORITHM_ED25519,
                    public_key=public_key,
                    signature=self.key.sign(device_enrolment_digest(*about)),
                ),
                sealed_pin=step_up_pb2.SealedPin(**sealed._asdict()),
            ),
            timeout=TIMEOUT_S,
        )
        self.device_id = enrolled.device_id

    def by_device(self, number: int) -> pb.AuthorizeRequest:
        intent, request = _question(self.user, number)
        request.step_up.device_signature.device_id = self.device_id
        request.step_up.device_signature.signature = self.key.sign(payment_digest(intent))
        return request

    def by_pin(self, number: int, sealing: SealingKey) -> pb.AuthorizeRequest:
        intent, request = _question(self.user, number)
        sealed = sealing.for_payment(PIN, intent)
        request.step_up.sealed_pin.key_id = sealed.key_id
        request.step_up.sealed_pin.ciphertext = sealed.ciphertext
        return request


async def _rate(stub: Any, requests: Iterable[pb.AuthorizeRequest], number: int) -> float:
    """Approvals a second, IN_FLIGHT at a time; each is answered with an authorization."""
    waiting = iter(requests)

    async def lane() -> None:
        for request in waiting:
            await stub.Authorize(request, timeout=TIMEOUT_S)

    began = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(IN_FLIGHT)))
    return number / (time.perf_counter() - began)


async def _measure(endpoints: Endpoints, devices: int, pins: int) -> tuple[float, float]:
    target = endpoints.target("signing")
    async with (
        open_channel(target, endpoints.tls["app"], service="signing") as channel,
        open_channel(target, endpoints.tls["command"], service="signing") as command,
    ):
        stub = pb_grpc.SigningServiceStub(channel)
        reply = await stub.GetPublicKeys(pb.GetPublicKeysRequest(), timeout=TIMEOUT_S)
        key = next(key for key in reply.keys if key.purpose == pb.KEY_PURPOSE_SEALING)
        sealing = SealingKey(key.key_id, key.public_key)
        payers = [_Payer(number) for number in range(USERS)]
        for payer in payers:
            await payer.enrol(stub, sealing)
        asked = pb_grpc.SigningServiceStub(command)
        # Made beforehand: sealing and signing is the payers' work, on their own devices.
        warm = [payers[number % USERS].by_device(-1 - number) for number in range(200)]
        await _rate(asked, warm, len(warm))
        signed = [payers[number % USERS].by_device(number) for number in range(devices)]
        by_device = await _rate(asked, signed, devices)
        sealed = [
            payers[number % USERS].by_pin(number + devices, sealing) for number in range(pins)
        ]
        return by_device, await _rate(asked, sealed, pins)


@app.command()
def measure(
    devices: Annotated[int, typer.Option(min=1, help="Approvals by devices.")] = 4_000,
    pins: Annotated[int, typer.Option(min=1, help="Approvals by PINs.")] = 400,
) -> None:
    """Ask one signing process, on this machine's own cores, caller and database included."""
    with tempfile.TemporaryDirectory(prefix="paycore-bench-") as folder:
        stack = LocalStack(Path(folder), processes=1, parts=frozenset({"postgres", "signing"}))
        stack.start()
        try:
            alone = argon2id_alone(threads=2)
            by_device, by_pin = uvloop.run(_measure(stack.endpoints, devices, pins))
        finally:
            stack.stop()
    table = Table("approvals", "a second", title=f"{os.cpu_count()} cores")
    table.add_row("by device", f"{by_device:,.0f}")
    table.add_row("by PIN", f"{by_pin:,.0f}")
    table.add_row("argon2id alone, 2 threads", f"{alone:,.0f}")
    table.add_row("by PIN, of what argon2id alone allows", f"{by_pin / alone:.0%}")
    console.print(table)


if __name__ == "__main__":
    app()

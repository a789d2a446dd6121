"""`python -m tests.bench.signing`: approvals a second through gRPC, by device and by PIN."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from deploy.local import Endpoints, LocalStack
from paycore.client.sealing import SealingKey
from paycore.domain.step_up import PaymentIntent
from paycore.runtime.channel import open_channel
from paycore.signing.v1 import signing_service_pb2 as pb
from paycore.signing.v1 import signing_service_pb2_grpc as pb_grpc
from paycore.v1 import transfer_pb2
from tests.bench.argon2id import THREADS, hashes_per_s
from tests.bench.payers import TIMEOUT_S, Payer, current_sealing_key

USERS = 64
IN_FLIGHT = 32
HASHES = 200

app = typer.Typer(add_completion=False)
console = Console()


def _question(user: str, number: int) -> tuple[PaymentIntent, pb.AuthorizeRequest]:
    now_us = time.time_ns() // 1_000
    intent = PaymentIntent("TRANSFER", 11, 12, 100, "EUR", "bench", f"{user}-{number}", now_us)
    request = pb.AuthorizeRequest(user_id=user)
    request.payment.kind = transfer_pb2.TRANSFER_KIND_TRANSFER
    request.payment.debit_account_id, request.payment.credit_account_id = 11, 12
    request.payment.amount.minor_units, request.payment.amount.currency = 100, "EUR"
    request.payment.client, request.payment.idempotency_key = "bench", intent.idempotency_key
    return intent, request


def _by_device(payer: Payer, number: int) -> pb.AuthorizeRequest:
    intent, request = _question(payer.user, number)
    request.step_up.CopyFrom(payer.by_device(intent))
    return request


def _by_pin(payer: Payer, number: int, sealing: SealingKey) -> pb.AuthorizeRequest:
    intent, request = _question(payer.user, number)
    request.step_up.CopyFrom(payer.by_pin(intent, sealing))
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
        sealing = await current_sealing_key(stub)
        payers = [Payer(f"bench-{number}") for number in range(USERS)]
        for payer in payers:
            await payer.enrol(stub, sealing)
        asked = pb_grpc.SigningServiceStub(command)
        # Made beforehand: sealing and signing is the payers' work, on their own devices.
        warm = [_by_device(payers[number % USERS], -1 - number) for number in range(200)]
        await _rate(asked, warm, len(warm))
        signed = [_by_device(payers[number % USERS], number) for number in range(devices)]
        by_device = await _rate(asked, signed, devices)
        sealed = [
            _by_pin(payers[number % USERS], number + devices, sealing) for number in range(pins)
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
            alone = hashes_per_s(HASHES)
            by_device, by_pin = uvloop.run(_measure(stack.endpoints, devices, pins))
        finally:
            stack.stop()
    table = Table("approvals", "a second", title=f"{os.cpu_count()} cores")
    table.add_row("by device", f"{by_device:,.0f}")
    table.add_row("by PIN", f"{by_pin:,.0f}")
    table.add_row(f"argon2id alone, {THREADS} threads", f"{alone:,.0f}")
    table.add_row("by PIN, of what argon2id alone allows", f"{by_pin / alone:.0%}")
    console.print(table)


if __name__ == "__main__":
    app()

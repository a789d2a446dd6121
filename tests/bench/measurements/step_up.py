"""Payments above policy, each approved by its payer, and argon2id alone, which bounds PINs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from paycore.client.sealing import SealingKey
from paycore.domain.step_up import PaymentIntent
from paycore.runtime.channel import open_channel
from paycore.signing.v1 import signing_service_pb2_grpc
from paycore.v1 import money_pb2, step_up_pb2, transfer_pb2, transfer_service_pb2
from tests.bench.argon2id import THREADS, hashes_per_s
from tests.bench.bed import CONNECTIONS, NOT_EXEMPT, SUBMIT_TRANSFER, Bed
from tests.bench.errors import BenchError
from tests.bench.figures import Latency, Sample
from tests.bench.lanes import Lanes
from tests.bench.load import closed_loops
from tests.bench.orders import CURRENCY
from tests.bench.payers import Payer, current_sealing_key
from tests.bench.sizes import DEVICE_CALLERS, PIN_CALLERS, STEP_UP_PAYERS

LEAST_AMOUNT = 100_001
"""Minor units: above the local stack's threshold, so that policy asks for an approval."""

Prove = Callable[[Payer, PaymentIntent], step_up_pb2.StepUp]


@dataclass(frozen=True, slots=True)
class Payers:
    """Enrolled users, the account of each, and connections of a client that is not exempt."""

    payers: Sequence[Payer]
    accounts: Sequence[int]
    lanes: Lanes
    sealing: SealingKey


@asynccontextmanager
async def open_payers(bed: Bed) -> AsyncIterator[Payers]:
    """Users with a PIN, a device and a funded account, all made through the services' calls."""
    endpoints, tls = bed.endpoints, bed.endpoints.tls[NOT_EXEMPT]
    payers = [Payer(f"payer-{number}") for number in range(STEP_UP_PAYERS)]
    async with (
        Lanes(endpoints.command_target, tls, CONNECTIONS) as lanes,
        open_channel(endpoints.signing_target, tls, service="signing") as channel,
    ):
        stub = signing_service_pb2_grpc.SigningServiceStub(channel)
        sealing = await current_sealing_key(stub)
        for payer in payers:
            await payer.enrol(stub, sealing)
        accounts = await bed.open_accounts([payer.user for payer in payers], lanes)
        yield Payers(payers, accounts, lanes, sealing)


class ApprovedPayments:
    """SubmitTransfer with a proof of its payer, by callers with payers of their own."""

    unit = "transfers"

    def __init__(
        self,
        bed: Bed,
        payers: Payers,
        prove: Prove,
        key: str,
        what: str,
        callers: int,
        transfers: int,
        baseline: str = "",
    ) -> None:
        self.key = key
        self.label = f"SubmitTransfer approved by {what}, {callers} callers, projector off"
        self.baseline = baseline
        self._bed = bed
        self._payers = payers
        self._prove = prove
        self._callers = callers
        self._transfers = transfers

    async def warm_up(self) -> None:
        await self._run(2 * self._callers)

    async def measure(self) -> Sample:
        return await self._run(self._transfers)

    async def _run(self, transfers: int) -> Sample:
        each = -(-transfers // self._callers)
        # Proofs are made on the payers' own devices: before the clock runs, and good for two
        # minutes from now.
        requests = [
            [self._request(caller, number) for number in range(each)]
            for caller in range(self._callers)
        ]
        meter = self._bed.meter()
        meter.start()
        taken = await closed_loops(self._payers.lanes.call(SUBMIT_TRANSFER), requests)
        posted = each * self._callers
        cpu_us = meter.per(posted)
        for raw in taken.replies:
            check_approved(raw)
        return Sample(posted / taken.elapsed_s, Latency.of(taken.latencies_s), cpu_us)

    def _request(self, caller: int, number: int) -> bytes:
        accounts, orders = self._payers.accounts, self._bed.orders
        own = range(caller, len(accounts), self._callers)
        debited = own[number % len(own)]
        credited = (debited + 1 + number % (len(accounts) - 1)) % len(accounts)
        amount = LEAST_AMOUNT + number % 100
        intent = PaymentIntent(
            kind="TRANSFER",
            debit_account=accounts[debited],
            credit_account=accounts[credited],
            amount=amount,
            currency=CURRENCY,
            client=NOT_EXEMPT,
            idempotency_key=orders.key(),
            signed_at_us=time.time_ns() // 1_000,
        )
        return transfer_service_pb2.SubmitTransferRequest(
            idempotency_key=intent.idempotency_key,
            kind=transfer_pb2.TRANSFER_KIND_TRANSFER,
            debit_account_id=intent.debit_account,
            credit_account_id=intent.credit_account,
            amount=money_pb2.Money(minor_units=amount, currency=CURRENCY),
            step_up=self._prove(self._payers.payers[debited], intent),
        ).SerializeToString()


def by_device(bed: Bed, payers: Payers) -> ApprovedPayments:
    """Payments approved by the signature of an enrolled device."""
    return ApprovedPayments(
        bed,
        payers,
        Payer.by_device,
        "step-up-device",
        "a device",
        DEVICE_CALLERS,
        bed.sizes.by_device,
    )


def by_pin(bed: Bed, payers: Payers) -> ApprovedPayments:
    """Payments approved by a sealed PIN, which the signing service hashes."""
    return ApprovedPayments(
        bed,
        payers,
        lambda payer, intent: payer.by_pin(intent, payers.sealing),
        "step-up-pin",
        "a PIN",
        PIN_CALLERS,
        bed.sizes.by_pin,
        baseline="argon2id",
    )


class Argon2idAlone:
    """Hashes as the signing service makes them, with nothing else on the cores."""

    key = "argon2id"
    label = f"argon2id alone, {THREADS} threads"
    unit = "hashes"
    baseline = ""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed

    async def warm_up(self) -> None:
        await asyncio.to_thread(hashes_per_s, 2 * THREADS)

    async def measure(self) -> Sample:
        hashes = self._bed.sizes.hashes
        meter = self._bed.meter()
        meter.start()
        rate = await asyncio.to_thread(hashes_per_s, hashes)
        return Sample(rate, cpu_us=meter.per(hashes))


def check_approved(raw: bytes) -> None:
    """Raise BenchError unless the reply to SubmitTransfer is of a payment that was posted now on
    its payer's approval."""
    reply = transfer_service_pb2.SubmitTransferResponse.FromString(raw)
    transfer = reply.transfer
    if (
        reply.replayed
        or transfer.state != transfer_pb2.TRANSFER_STATE_POSTED
        or transfer.step_up_basis != transfer_pb2.STEP_UP_BASIS_AUTHORIZED
    ):
        raise BenchError(f"a payment was not posted on an approval: {reply}")

"""Callers that never stop, and an exact account of what each was told."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import grpc

from deploy.local import Endpoints
from paycore.client import (
    Money,
    PaycoreClient,
    RefusedItem,
    Timeouts,
    TransferOrder,
    TransferReceipt,
)
from paycore.client.errors import ClientError, RefusedError, TransferNotFoundError, TransportError
from paycore.domain.errors import STORED_DECLINES
from tests.support.callers import Caller, payment, refusal_of
from tests.support.ledger_checks import violations

PATIENT = Timeouts(ordinary_s=5.0, bulk_s=15.0, total_s=90.0)
"""Outlasts any restart on a busy machine."""


ORDERS_A_CALL = 20
"""Of callers in bulk, and what streams have at a time."""


@dataclass
class Tally:
    """What callers were told, by idempotency key."""

    posted: dict[str, int] = field(default_factory=dict)
    """The transfer that each acknowledged key led to."""
    declined: dict[str, int] = field(default_factory=dict)
    """The stored decline that each refused key led to."""
    unknown: list[str] = field(default_factory=list)
    """Keys whose reply was lost."""
    refused: Counter[str] = field(default_factory=Counter)
    """Refusals that wrote nothing, by reason."""
    silent_refusals: list[str] = field(default_factory=list)
    """UNAVAILABLE from paycore without a word on when to come back."""

    @property
    def answered(self) -> int:
        return len(self.posted) + len(self.declined)


class Load:
    """Random payments between `accounts` by many callers at once."""

    def __init__(self, client: PaycoreClient, accounts: list[int], rng: random.Random) -> None:
        self.tally = Tally()
        self._client = client
        self._accounts = accounts
        self._rng = rng
        self._stop = asyncio.Event()

    @asynccontextmanager
    async def running(
        self,
        callers: int = 16,
        bare: list[Caller] | None = None,
        bulk_callers: int = 0,
        streams: int = 0,
    ) -> AsyncIterator[Tally]:
        """Callers work while the block runs, and finish what they began after it.

        `bare` callers work too, each without our client: they give up at the first failure.
        """
        self._stop.clear()
        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(self._call_for_ever())
            for _ in range(bulk_callers):
                group.create_task(self._call_in_bulk())
            for _ in range(streams):
                group.create_task(self._stream())
            for caller in bare or []:
                group.create_task(self._call_barely(caller))
            try:
                yield self.tally
            finally:
                self._stop.set()

    async def until_answered(self, more: int, within_s: float = 60.0) -> None:
        """Return once `more` payments than now have been answered: the system works."""
        goal = self.tally.answered + more
        async with asyncio.timeout(within_s):
            while self.tally.answered < goal:
                await asyncio.sleep(0.02)

    async def settle(self) -> None:
        """Ask by key what became of every payment whose reply was lost."""
        unknown, self.tally.unknown = self.tally.unknown, []
        for key in unknown:
            try:
                found = await self._client.lookup_transfer(key)
            except TransferNotFoundError:
                self.tally.refused["NEVER_HAPPENED"] += 1
                continue
            if isinstance(found, RefusedItem):
                self.tally.declined[key] = int(found.error.metadata["decline_id"])
            else:
                self.tally.posted[key] = found.transfer.id

    async def _call_for_ever(self) -> None:
        while not self._stop.is_set():
            await self._ask(self._order())

    def _order(self) -> TransferOrder:
        debit, credit = self._rng.sample(self._accounts, 2)
        amount = Money(self._rng.randint(1, 400), "EUR")
        return TransferOrder(debit, credit, amount, idempotency_key=_key())

    async def _call_in_bulk(self) -> None:
        while not self._stop.is_set():
            orders = [self._order() for _ in range(ORDERS_A_CALL)]
            try:
                receipt = await self._client.submit_transfers(orders)
            except ClientError as failure:
                self.tally.refused[_kind(failure)] += 1
                self.tally.unknown.extend(order.idempotency_key or "" for order in orders)
            else:
                for outcome in receipt.outcomes:
                    self._note(outcome)

    async def _stream(self) -> None:
        try:
            async for outcome in self._client.stream_transfers(self._orders()):
                self._note(outcome)
        except ClientError as failure:
            self.tally.refused[_kind(failure)] += 1
            self.tally.unknown.extend(failure.unanswered)

    async def _orders(self) -> AsyncIterator[TransferOrder]:
        while not self._stop.is_set():
            for _ in range(ORDERS_A_CALL):
                yield self._order()
            # As orders come in life: some, and then for a moment none.
            await asyncio.sleep(0.02)

    def _note(self, outcome: TransferReceipt | RefusedItem) -> None:
        key = outcome.idempotency_key
        assert key not in self.tally.posted
        assert key not in self.tally.declined
        if not isinstance(outcome, RefusedItem):
            self.tally.posted[key] = outcome.transfer.id
        elif outcome.error.reason in STORED_DECLINES:
            self.tally.declined[key] = int(outcome.error.metadata["decline_id"])
        else:
            self.tally.refused[outcome.error.reason.value] += 1
            if outcome.error.outcome_unknown:
                self.tally.unknown.append(key)

    async def _ask(self, order: TransferOrder) -> None:
        key = order.idempotency_key
        assert key is not None
        try:
            receipt = await self._client.submit_transfer(order)
        except RefusedError as refusal:
            if refusal.reason in STORED_DECLINES:
                self.tally.declined[key] = int(refusal.metadata["decline_id"])
            elif refusal.outcome_unknown:
                self.tally.unknown.append(key)
            else:
                self.tally.refused[refusal.reason.value] += 1
        except ClientError as failure:
            self.tally.refused[_kind(failure)] += 1
            if failure.outcome_unknown:
                self.tally.unknown.append(key)
        else:
            self.tally.posted[key] = receipt.transfer.id

    async def _call_barely(self, caller: Caller) -> None:
        while not self._stop.is_set():
            debit, credit = self._rng.sample(self._accounts, 2)
            request = payment(debit, credit, self._rng.randint(1, 400), idempotency_key=_key())
            failure = await refusal_of(self._remember(caller, request))
            if failure is None:
                continue
            if failure.reason in STORED_DECLINES:
                assert failure.error is not None
                decline = int(failure.error.metadata["decline_id"])
                self.tally.declined[request.idempotency_key] = decline
                continue
            self.tally.unknown.append(request.idempotency_key)
            self.tally.refused[failure.reason or failure.code.name] += 1
            unavailable = failure.code is grpc.StatusCode.UNAVAILABLE
            if unavailable and failure.error is not None and not failure.error.retry_after_ms:
                self.tally.silent_refusals.append(failure.details)
            await asyncio.sleep(0.02)

    async def _remember(self, caller: Caller, request: object) -> None:
        reply = await caller.submit(request)  # type: ignore[arg-type]
        self.tally.posted[request.idempotency_key] = reply.transfer.id  # type: ignore[attr-defined]


def _kind(failure: ClientError) -> str:
    """The class of `failure`, or gRPC's code where there is no class of its own."""
    return failure.code.name if type(failure) is TransportError else type(failure).__name__


def _key() -> str:
    return secrets.token_hex(12)


def patient_client(endpoints: Endpoints, name: str, connections: int = 8) -> PaycoreClient:
    """Our own client, with retries that outlast a restart."""
    return PaycoreClient(
        endpoints.command_target,
        query_target=endpoints.query_target,
        signing_target=endpoints.signing_target,
        tls=endpoints.tls[name],
        connections=connections,
        timeouts=PATIENT,
    )


async def assert_all_there_once(tally: Tally, client: str, dsn: str) -> None:
    """Every answer is in the tables, once and as it was told; the ledger is whole.

    `tally` must be settled: a key in none of its answers must not be in the tables either.
    """
    connection = await asyncpg.connect(dsn)
    try:
        assert tally.unknown == []
        told = {**tally.posted, **tally.declined}
        assert len(told) == tally.answered
        rows = await connection.fetch(
            "SELECT key, outcome_id, outcome::text FROM ledger.idempotency_keys"
            " WHERE client = $1 AND key = ANY($2)",
            client,
            list(told),
        )
        stored = {row["key"]: row["outcome_id"] for row in rows}
        lost = told.keys() - stored.keys()
        assert not lost, f"{len(lost)} of {len(told)} payments that were answered are lost"
        assert stored == told
        kinds = {row["key"]: row["outcome"] for row in rows}
        assert all(kinds[key] == "TRANSFER" for key in tally.posted)
        assert all(kinds[key] == "DECLINE" for key in tally.declined)
        posted = list(tally.posted.values())
        assert len(set(posted)) == len(posted)
        there = await connection.fetchval(
            "SELECT count(*) FROM ledger.transfers WHERE id = ANY($1)", posted
        )
        assert there == len(posted)
        assert await violations(connection) == []
    finally:
        await connection.close()

"""Payments made before the clock runs, sent over many connections; what each came to."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Self

import grpc

from paycore.domain.errors import STORED_DECLINES, PaycoreError
from paycore.runtime.channel import SEPARATE_CONNECTION, open_channel
from paycore.runtime.errors import from_rpc_error, from_status
from paycore.runtime.tls import TlsFiles
from paycore.v1 import transfer_service_pb2 as pb
from tests.support.callers import payment
from tests.support.soaking.pace import Call
from tests.support.soaking.told import Told

CONNECTIONS = 16
LARGEST = 100
"""Minor units."""

SUBMIT_TRANSFER = "/paycore.v1.TransferService/SubmitTransfer"
SUBMIT_TRANSFERS = "/paycore.v1.TransferService/SubmitTransfers"

MUST_SAY_WHEN = frozenset({"OVERLOADED", "RATE_LIMITED"})
"""Refusals that say when to come back."""

NOTHING_DONE = MUST_SAY_WHEN
"""Refusals after which nothing of the request is there."""


@dataclass(slots=True)
class Heard:
    """What came of payments, by key and by reason."""

    told: Told = field(default_factory=Told)
    reasons: Counter[str] = field(default_factory=Counter)
    """Of calls and of single payments in bulk that were not answered with a transfer."""
    without_when: Counter[str] = field(default_factory=Counter)
    """Refusals that should say when to come back, and do not."""


class Payments:
    """One client's; use as an async context manager."""

    def __init__(
        self,
        target: str,
        tls: TlsFiles,
        client: str,
        accounts: Sequence[int],
        run: str,
        rng: random.Random,
        timeout_s: float,
    ) -> None:
        """`target` is host:port, `tls` the client's; every key begins with `run`."""
        self.heard = Heard()
        self._target = target
        self._tls = tls
        self._client = client
        self._accounts = accounts
        self._run = run
        self._rng = rng
        self._timeout_s = timeout_s
        self._numbers = itertools.count()
        self._resources = AsyncExitStack()
        self._stubs: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        channels: list[Any] = [
            await self._resources.enter_async_context(
                open_channel(self._target, self._tls, SEPARATE_CONNECTION, service="command")
            )
            for _ in range(CONNECTIONS)
        ]
        for channel in channels:
            await channel.channel_ready()
        for path in (SUBMIT_TRANSFER, SUBMIT_TRANSFERS):
            self._stubs[path] = itertools.cycle([channel.unary_unary(path) for channel in channels])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._resources.aclose()

    def singles(self, count: int, kind: str = "single") -> list[Call]:
        """So many SubmitTransfer, ready to be sent."""
        return [Call(kind, self._single(self._request())) for _ in range(count)]

    def bulks(self, count: int, items: int, kind: str = "bulk") -> list[Call]:
        """So many SubmitTransfers of `items` each."""
        return [
            Call(kind, self._bulk([self._request() for _ in range(items)])) for _ in range(count)
        ]

    def _request(self) -> pb.SubmitTransferRequest:
        debit, credit = self._rng.sample(self._accounts, 2)
        key = f"{self._run}-{self._client}-{next(self._numbers)}"
        amount = self._rng.randint(1, LARGEST)
        return payment(debit, credit, amount, idempotency_key=key, reference=key)

    def _single(self, request: pb.SubmitTransferRequest) -> Callable[[], Awaitable[str]]:
        raw, key = request.SerializeToString(), request.idempotency_key

        async def make() -> str:
            try:
                reply = await next(self._stubs[SUBMIT_TRANSFER])(raw, timeout=self._timeout_s)
            except grpc.RpcError as failure:
                return self._failed([key], failure)
            found = pb.SubmitTransferResponse.FromString(reply)
            self.heard.told.posted[self._client, key] = found.transfer.id
            return ""

        return make

    def _bulk(self, requests: list[pb.SubmitTransferRequest]) -> Callable[[], Awaitable[str]]:
        raw = pb.SubmitTransfersRequest(transfers=requests).SerializeToString()
        keys = [one.idempotency_key for one in requests]

        async def make() -> str:
            try:
                reply = await next(self._stubs[SUBMIT_TRANSFERS])(raw, timeout=self._timeout_s)
            except grpc.RpcError as failure:
                return self._failed(keys, failure)
            found = pb.SubmitTransfersResponse.FromString(reply)
            trouble = ""
            for key, outcome in zip(keys, found.outcomes, strict=True):
                if outcome.HasField("transfer"):
                    self.heard.told.posted[self._client, key] = outcome.transfer.id
                else:
                    error = from_status(outcome.error)
                    code = str(outcome.error.code)
                    trouble = self._refused([key], error, code) or trouble
            return trouble

        return make

    def _failed(self, keys: Sequence[str], failure: grpc.RpcError) -> str:
        error: Any = failure
        return self._refused(keys, from_rpc_error(failure), error.code().name)

    def _refused(self, keys: Sequence[str], error: PaycoreError | None, code: str) -> str:
        """The reason; nothing where it is a decline, which is an answer."""
        told = self.heard.told
        reason = f"gRPC: {code}" if error is None else error.reason.value
        self.heard.reasons[reason] += 1
        if error is not None and error.reason in STORED_DECLINES:
            for key in keys:
                told.declined[self._client, key] = int(error.metadata["decline_id"])
            return ""
        if reason in MUST_SAY_WHEN and not (error is not None and error.retry_after_ms):
            self.heard.without_when[reason] += 1
        where = told.refused if reason in NOTHING_DONE else told.unheard
        where.update((self._client, key) for key in keys)
        return reason

"""Calls to the service as its callers make them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from paycore.domain.errors import PaycoreError
from paycore.runtime.errors import from_rpc_error
from paycore.v1 import analytics_service_pb2 as analytics
from paycore.v1 import history_service_pb2 as history
from paycore.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from paycore.v1.history_service_pb2_grpc import HistoryServiceStub
from paycore.v1.transfer_pb2 import Transfer

TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller of the local stack."""

    history: Any
    analytics: Any

    @classmethod
    def on(cls, channel: grpc.aio.Channel) -> Caller:
        return cls(HistoryServiceStub(channel), AnalyticsServiceStub(channel))

    async def transfer(
        self, transfer: int, timeout: float = TIMEOUT_S, **fields: Any
    ) -> history.GetTransferResponse:
        request = history.GetTransferRequest(transfer_id=transfer, **fields)
        reply: history.GetTransferResponse = await self.history.GetTransfer(
            request, timeout=timeout
        )
        return reply

    async def balance(
        self, account: int, timeout: float = TIMEOUT_S, **fields: Any
    ) -> history.GetBalanceResponse:
        request = history.GetBalanceRequest(account_id=account, **fields)
        reply: history.GetBalanceResponse = await self.history.GetBalance(request, timeout=timeout)
        return reply

    async def statement(
        self,
        account: int,
        start_us: int,
        end_us: int,
        timeout: float = TIMEOUT_S,
        **fields: Any,
    ) -> history.GetStatementResponse:
        request = history.GetStatementRequest(
            account_id=account, start_time=at(start_us), end_time=at(end_us), **fields
        )
        reply: history.GetStatementResponse = await self.history.GetStatement(
            request, timeout=timeout
        )
        return reply

    async def page(
        self, account: int, timeout: float = TIMEOUT_S, **fields: Any
    ) -> history.ListTransfersResponse:
        request = history.ListTransfersRequest(account_id=account, **fields)
        reply: history.ListTransfersResponse = await self.history.ListTransfers(
            request, timeout=timeout
        )
        return reply

    async def walk(
        self,
        account: int,
        between: Callable[[], Awaitable[None]] | None = None,
        **fields: Any,
    ) -> list[Transfer]:
        """Every transfer of the list, page by page; `between` runs after each page."""
        found: list[Transfer] = []
        token = ""
        while True:
            reply = await self.page(account, page_token=token, **fields)
            found += reply.transfers
            token = reply.next_page_token
            if not token:
                return found
            assert len(reply.transfers) == fields.get("page_size", 50)
            if between is not None:
                await between()

    async def volume(
        self, start_us: int, end_us: int, timeout: float = TIMEOUT_S, **fields: Any
    ) -> analytics.TransferVolumeResponse:
        request = analytics.TransferVolumeRequest(
            start_time=at(start_us), end_time=at(end_us), **fields
        )
        reply: analytics.TransferVolumeResponse = await self.analytics.TransferVolume(
            request, timeout=timeout
        )
        return reply

    async def counterparties(
        self, account: int, timeout: float = TIMEOUT_S, **fields: Any
    ) -> analytics.TopCounterpartiesResponse:
        request = analytics.TopCounterpartiesRequest(account_id=account, **fields)
        reply: analytics.TopCounterpartiesResponse = await self.analytics.TopCounterparties(
            request, timeout=timeout
        )
        return reply

    async def kinds(
        self, timeout: float = TIMEOUT_S, **fields: Any
    ) -> analytics.KindBreakdownResponse:
        request = analytics.KindBreakdownRequest(**fields)
        reply: analytics.KindBreakdownResponse = await self.analytics.KindBreakdown(
            request, timeout=timeout
        )
        return reply

    async def institutions(
        self, timeout: float = TIMEOUT_S, **fields: Any
    ) -> analytics.InstitutionPositionsResponse:
        request = analytics.InstitutionPositionsRequest(**fields)
        reply: analytics.InstitutionPositionsResponse = await self.analytics.InstitutionPositions(
            request, timeout=timeout
        )
        return reply

    async def activity(
        self,
        account: int,
        start_us: int,
        end_us: int,
        timeout: float = TIMEOUT_S,
        **fields: Any,
    ) -> analytics.AccountActivityResponse:
        request = analytics.AccountActivityRequest(
            account_id=account, start_time=at(start_us), end_time=at(end_us), **fields
        )
        reply: analytics.AccountActivityResponse = await self.analytics.AccountActivity(
            request, timeout=timeout
        )
        return reply

    async def declines(
        self, timeout: float = TIMEOUT_S, **fields: Any
    ) -> analytics.DeclineStatisticsResponse:
        request = analytics.DeclineStatisticsRequest(**fields)
        reply: analytics.DeclineStatisticsResponse = await self.analytics.DeclineStatistics(
            request, timeout=timeout
        )
        return reply

    async def latencies(
        self, timeout: float = TIMEOUT_S, **fields: Any
    ) -> analytics.LatencyOfProjectionResponse:
        request = analytics.LatencyOfProjectionRequest(**fields)
        reply: analytics.LatencyOfProjectionResponse = await self.analytics.LatencyOfProjection(
            request, timeout=timeout
        )
        return reply


def at(time_us: int) -> Timestamp:
    return Timestamp(seconds=time_us // 1_000_000, nanos=time_us % 1_000_000 * 1_000)


def us(time: Timestamp) -> int:
    return time.seconds * 1_000_000 + time.nanos // 1_000


async def refused(call: Awaitable[object]) -> PaycoreError:
    """The error with which the call was refused; fails when it was answered."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = from_rpc_error(caught.value)
    assert error is not None, caught.value
    return error


def named(error: PaycoreError) -> set[str]:
    """The fields that the error names."""
    return {violation.field for violation in error.violations}

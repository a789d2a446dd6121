"""Reading: pages in turn, values without protobuf, positions passed on."""

from datetime import UTC, datetime, timedelta

import pytest

from paycore.client import (
    AccountKind,
    AccountStatus,
    Interval,
    PaycoreClient,
    StepUpBasis,
    TransferFilter,
    TransferKind,
    TransferState,
)
from paycore.client.errors import UnexpectedReplyError
from paycore.v1 import (
    account_pb2,
    account_service_pb2,
    analytics_service_pb2,
    freshness_pb2,
    history_service_pb2,
    transfer_pb2,
)
from tests.integration.client.samples import transfer
from tests.integration.client.scripted import Script

FRESH = freshness_pb2.Freshness(source="elasticsearch", position="p")
FRESH.lag.FromMilliseconds(40)


def page(ids: list[int], token: str) -> history_service_pb2.ListTransfersResponse:
    return history_service_pb2.ListTransfersResponse(
        transfers=[transfer(number) for number in ids], next_page_token=token, freshness=FRESH
    )


async def test_paging_follows_the_tokens_to_the_end(client: PaycoreClient, script: Script) -> None:
    script.play(page([3, 2], "more"), page([1], ""))
    wanted = TransferFilter(11, kinds=(TransferKind.DEPOSIT,), min_amount=0)
    listed = [item.id async for item in client.list_transfers(wanted, page_size=2)]
    assert listed == [3, 2, 1]
    first, second = script.requests
    assert (first.page_token, second.page_token) == ("", "more")
    assert first.page_size == 2
    assert list(first.kinds) == [transfer_pb2.TRANSFER_KIND_DEPOSIT]
    assert first.HasField("min_minor_units")
    assert not first.HasField("max_minor_units")


async def test_a_transfer_comes_as_plain_values(client: PaycoreClient, script: Script) -> None:
    script.play(page([7], ""))
    reply = await client.list_transfers_page(TransferFilter(11))
    [read] = reply.transfers
    assert read.kind is TransferKind.TRANSFER
    assert read.state is TransferState.POSTED
    assert read.step_up_basis is StepUpBasis.BELOW_THRESHOLD
    assert read.debit_balance_after == 750
    assert read.credit_balance_after is None
    assert read.created_at == datetime(2026, 9, 21, 14, 13, 20, 123456, UTC)
    assert reply.freshness.lag == timedelta(milliseconds=40)


async def test_an_account_comes_as_plain_values(client: PaycoreClient, script: Script) -> None:
    account = account_pb2.Account(
        id=5,
        kind=account_pb2.ACCOUNT_KIND_EXTERNAL,
        status=account_pb2.ACCOUNT_STATUS_FROZEN,
        balance_minor_units=-(2**63),
    )
    script.play(account_service_pb2.GetAccountResponse(account=account))
    read = await client.get_account(5)
    assert read.kind is AccountKind.EXTERNAL
    assert read.status is AccountStatus.FROZEN
    assert read.balance == -(2**63)


async def test_volume_is_exact_beyond_int64(client: PaycoreClient, script: Script) -> None:
    bucket = analytics_service_pb2.VolumeBucket(
        kind=transfer_pb2.TRANSFER_KIND_DEPOSIT,
        count=2,
        total_minor_units=str(2**70),
        currency="EUR",
    )
    script.play(analytics_service_pb2.TransferVolumeResponse(buckets=[bucket], freshness=FRESH))
    now = datetime(2026, 1, 1, tzinfo=UTC)
    volume = await client.transfer_volume(
        now, now + timedelta(hours=1), Interval.HOUR, min_position="seen"
    )
    assert volume.buckets[0].total == 2**70
    sent = script.requests[0]
    assert sent.interval == analytics_service_pb2.VOLUME_INTERVAL_HOUR
    assert sent.min_position == "seen"


async def test_a_time_without_a_zone_is_refused_before_sending(
    client: PaycoreClient, script: Script
) -> None:
    with pytest.raises(ValueError, match="without a zone"):
        await client.transfer_volume(datetime(2026, 1, 1), datetime(2026, 1, 2, tzinfo=UTC))
    assert script.requests == []


async def test_a_state_of_a_newer_service_is_an_unexpected_reply(
    client: PaycoreClient, script: Script
) -> None:
    strange = transfer()
    strange.MergeFromString(bytes([3 << 3, 77]))
    script.play(history_service_pb2.GetTransferResponse(transfer=strange, freshness=FRESH))
    with pytest.raises(UnexpectedReplyError, match="77"):
        await client.get_transfer(99)


async def test_a_service_without_an_address_is_named(target: str) -> None:
    async with PaycoreClient(target) as client:
        with pytest.raises(ValueError, match="QUERY"):
            await client.get_balance(1)

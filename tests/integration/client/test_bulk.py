"""Bulk requests: outcomes in order, and only what may pass is sent again."""

from dataclasses import replace

import grpc
import pytest

from paycore.client import NewAccount, PaycoreClient, RefusedItem, Timeouts, TransferReceipt
from paycore.client.errors import (
    ContentionError,
    InsufficientFundsError,
    UnexpectedReplyError,
    UnreachableError,
)
from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.errors import to_status
from paycore.v1 import account_pb2, account_service_pb2, transfer_pb2, transfer_service_pb2
from tests.integration.client.samples import LATER_POSITION, ORDER, POSITION, transfer
from tests.integration.client.scripted import Script

ORDERS = [replace(ORDER, idempotency_key=f"key-{number}") for number in range(3)]
POOR = PaycoreError(Reason.INSUFFICIENT_FUNDS, "poor", {"available": "1", "requested": "250"})
BUSY = PaycoreError(Reason.CONTENTION, "busy", retry_after_ms=1)


def posted(transfer_id: int, position: str = POSITION) -> transfer_pb2.TransferOutcome:
    return transfer_pb2.TransferOutcome(transfer=transfer(transfer_id), position=position)


def refused(error: PaycoreError) -> transfer_pb2.TransferOutcome:
    return transfer_pb2.TransferOutcome(error=to_status(error))


def reply(*outcomes: transfer_pb2.TransferOutcome) -> transfer_service_pb2.SubmitTransfersResponse:
    return transfer_service_pb2.SubmitTransfersResponse(outcomes=outcomes)


async def test_a_decline_is_data_in_its_place(client: PaycoreClient, script: Script) -> None:
    script.play(reply(posted(1), refused(POOR), posted(3, LATER_POSITION)))
    receipt = await client.submit_transfers(ORDERS)
    first, second, third = receipt.outcomes
    assert isinstance(first, TransferReceipt)
    assert isinstance(third, TransferReceipt)
    assert (first.transfer.id, third.transfer.id) == (1, 3)
    assert isinstance(second, RefusedItem)
    assert isinstance(second.error, InsufficientFundsError)
    assert second.error.metadata == {"available": "1", "requested": "250"}
    assert second.idempotency_key == "key-1"
    assert receipt.position == LATER_POSITION
    assert len(script.requests) == 1


async def test_only_items_refused_for_the_moment_are_sent_again(
    client: PaycoreClient, script: Script
) -> None:
    script.play(reply(posted(1), refused(BUSY), refused(POOR)), reply(posted(2, LATER_POSITION)))
    receipt = await client.submit_transfers(ORDERS)
    assert [item.idempotency_key for item in script.requests[1].transfers] == ["key-1"]
    assert isinstance(receipt.outcomes[1], TransferReceipt)
    assert isinstance(receipt.outcomes[2], RefusedItem)
    assert receipt.position == LATER_POSITION


async def test_what_is_known_is_kept_when_a_later_round_fails(target: str, script: Script) -> None:
    script.play(reply(posted(1), posted(2), refused(BUSY)), grpc.StatusCode.UNAVAILABLE)
    async with PaycoreClient(target, timeouts=Timeouts(total_s=0.3)) as client:
        receipt = await client.submit_transfers(ORDERS)
    assert isinstance(receipt.outcomes[0], TransferReceipt)
    last = receipt.outcomes[2]
    assert isinstance(last, RefusedItem)
    assert isinstance(last.error, ContentionError)
    assert last.error.outcome_unknown


async def test_a_bulk_that_never_got_through_raises(target: str, script: Script) -> None:
    script.play(grpc.StatusCode.UNAVAILABLE)
    async with PaycoreClient(target, timeouts=Timeouts(total_s=0.3)) as client:
        with pytest.raises(UnreachableError) as caught:
            await client.submit_transfers(ORDERS)
    assert caught.value.outcome_unknown
    assert all(request == script.requests[0] for request in script.requests)


async def test_a_reply_of_another_length_is_refused(client: PaycoreClient, script: Script) -> None:
    script.play(reply(posted(1)))
    with pytest.raises(UnexpectedReplyError, match="1 outcomes for 3 requests"):
        await client.submit_transfers(ORDERS)


async def test_accounts_are_opened_in_bulk(client: PaycoreClient, script: Script) -> None:
    opened = account_service_pb2.AccountOutcome(
        account=account_pb2.Account(
            id=5,
            owner="ada",
            currency="EUR",
            kind=account_pb2.ACCOUNT_KIND_CUSTOMER,
            status=account_pb2.ACCOUNT_STATUS_ACTIVE,
        ),
        position=POSITION,
    )
    script.play(account_service_pb2.CreateAccountsResponse(outcomes=[opened]))
    receipt = await client.create_accounts([NewAccount("ada", "Nordbank", "EUR")])
    [outcome] = receipt.outcomes
    assert not isinstance(outcome, RefusedItem)
    assert outcome.account.owner == "ada"
    assert outcome.idempotency_key == script.requests[0].accounts[0].idempotency_key

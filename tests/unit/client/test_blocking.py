"""The blocking client on grpcio-testing's fake channel: same keys, same errors, same values."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import grpc
import grpc_testing
import pytest
from google.rpc import status_pb2

from paycore.client.blocking import BlockingPaycoreClient
from paycore.client.errors import InsufficientFundsError, UnreachableError
from paycore.client.model import RefusedItem, TransferFilter, TransferReceipt
from paycore.client.retries import Timeouts
from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.errors import STATUS_DETAILS_KEY, to_status
from paycore.v1 import history_service_pb2, transfer_pb2, transfer_service_pb2
from tests.integration.client.samples import ORDER, POSITION, submitted, transfer

TRANSFERS = transfer_service_pb2.DESCRIPTOR.services_by_name["TransferService"]
HISTORY = history_service_pb2.DESCRIPTOR.services_by_name["HistoryService"]
SUBMIT = TRANSFERS.methods_by_name["SubmitTransfer"]
SUBMIT_MANY = TRANSFERS.methods_by_name["SubmitTransfers"]
LIST = HISTORY.methods_by_name["ListTransfers"]
Answer = TypeVar("Answer")


@pytest.fixture
def channel() -> Any:
    return grpc_testing.channel([TRANSFERS, HISTORY], grpc_testing.strict_real_time())


@pytest.fixture
def client(channel: Any) -> BlockingPaycoreClient:
    return BlockingPaycoreClient([channel], query=channel, timeouts=Timeouts(total_s=2))


@pytest.fixture
def run() -> Iterator[Callable[[Callable[[], Any]], Future[Any]]]:
    with ThreadPoolExecutor(1) as threads:
        yield threads.submit


Run = Callable[[Callable[[], Any]], "Future[Any]"]


def answer(channel: Any, method: Any, message: Any) -> Any:
    _, request, rpc = channel.take_unary_unary(method)
    rpc.send_initial_metadata(())
    rpc.terminate(message, (), grpc.StatusCode.OK, "")
    return request


def refuse(channel: Any, method: Any, status: status_pb2.Status, code: grpc.StatusCode) -> Any:
    _, request, rpc = channel.take_unary_unary(method)
    rpc.send_initial_metadata(())
    trailers = ((STATUS_DETAILS_KEY, status.SerializeToString()),) if status.details else ()
    rpc.terminate(None, trailers, code, "scripted")
    return request


def test_a_transfer_is_submitted(channel: Any, client: BlockingPaycoreClient, run: Run) -> None:
    called = run(lambda: client.submit_transfer(ORDER))
    request = answer(channel, SUBMIT, submitted())
    receipt = called.result(5)
    assert receipt.transfer.id == 99
    assert receipt.idempotency_key == request.idempotency_key


def test_a_retry_keeps_the_key(channel: Any, client: BlockingPaycoreClient, run: Run) -> None:
    called = run(lambda: client.submit_transfer(ORDER))
    bare = status_pb2.Status()
    first = refuse(channel, SUBMIT, bare, grpc.StatusCode.UNAVAILABLE)
    second = answer(channel, SUBMIT, submitted())
    assert first == second
    assert called.result(5).transfer.id == 99


def test_a_verdict_is_raised_with_its_figures(
    channel: Any, client: BlockingPaycoreClient, run: Run
) -> None:
    called = run(lambda: client.submit_transfer(ORDER))
    poor = PaycoreError(Reason.INSUFFICIENT_FUNDS, "poor", {"available": "1"})
    refuse(channel, SUBMIT, to_status(poor), grpc.StatusCode.FAILED_PRECONDITION)
    with pytest.raises(InsufficientFundsError) as caught:
        called.result(5)
    assert caught.value.metadata == {"available": "1"}


def test_attempts_end(channel: Any, run: Run) -> None:
    client = BlockingPaycoreClient([channel], timeouts=Timeouts(total_s=0.005))
    called = run(lambda: client.submit_transfer(ORDER))
    refuse(channel, SUBMIT, status_pb2.Status(), grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(UnreachableError):
        called.result(5)


def test_bulk_outcomes_come_in_order(channel: Any, client: BlockingPaycoreClient, run: Run) -> None:
    called = run(lambda: client.submit_transfers([ORDER, ORDER]))
    poor = to_status(PaycoreError(Reason.INSUFFICIENT_FUNDS, "poor"))
    outcomes = [
        transfer_pb2.TransferOutcome(error=poor, position=POSITION),
        transfer_pb2.TransferOutcome(transfer=transfer(2), position=POSITION),
    ]
    answer(channel, SUBMIT_MANY, transfer_service_pb2.SubmitTransfersResponse(outcomes=outcomes))
    first, second = called.result(5).outcomes
    assert isinstance(first, RefusedItem)
    assert isinstance(second, TransferReceipt)


def test_history_is_paged(channel: Any, client: BlockingPaycoreClient, run: Run) -> None:
    called = run(lambda: [item.id for item in client.list_transfers(TransferFilter(11))])
    page = history_service_pb2.ListTransfersResponse(
        transfers=[transfer(2)], next_page_token="more"
    )
    answer(channel, LIST, page)
    last = history_service_pb2.ListTransfersResponse(transfers=[transfer(1)])
    assert answer(channel, LIST, last).page_token == "more"
    assert called.result(5) == [2, 1]


def test_both_clients_have_the_same_methods() -> None:
    from paycore.client import PaycoreClient

    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    # A stream sends and takes at the same time: callers without an event loop send in bulk.
    of_the_loop = {"stream_transfers"}
    assert public(BlockingPaycoreClient) - {"connect"} == public(PaycoreClient) - of_the_loop

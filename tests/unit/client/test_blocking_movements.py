"""The blocking client holds, follows and groups with the same messages as the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc
import grpc_testing
import pytest

from paycore.client.blocking import BlockingPaycoreClient
from paycore.client.retries import Timeouts
from paycore.v1 import transfer_service_pb2
from tests.integration.client.movements import (
    ACTOR,
    CALLS,
    GROUP,
    SENT_GROUP,
    group_reply,
    keywords,
    reply_to,
)

SERVICE = transfer_service_pb2.DESCRIPTOR.services_by_name["TransferService"]


@pytest.fixture
def channel() -> Any:
    return grpc_testing.channel([SERVICE], grpc_testing.strict_real_time())


@pytest.fixture
def client(channel: Any) -> BlockingPaycoreClient:
    return BlockingPaycoreClient([channel], timeouts=Timeouts(total_s=2))


@pytest.fixture
def run() -> Iterator[Callable[[Callable[[], Any]], Future[Any]]]:
    with ThreadPoolExecutor(1) as threads:
        yield threads.submit


Run = Callable[[Callable[[], Any]], "Future[Any]"]


def answer(channel: Any, method: str, reply: Any) -> Any:
    _, request, rpc = channel.take_unary_unary(SERVICE.methods_by_name[method])
    rpc.send_initial_metadata(())
    rpc.terminate(reply, (), grpc.StatusCode.OK, "")
    return request


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_sent_exactly_and_its_reply_read(
    channel: Any, client: BlockingPaycoreClient, run: Run, name: str
) -> None:
    arguments, _, expected = CALLS[name]
    called = run(lambda: getattr(client, name)(*arguments, **keywords(name)))
    method = type(expected).__name__.removesuffix("Request")
    assert answer(channel, method, reply_to(name)) == expected
    assert called.result(5).transfer.id == 99


def test_a_group_is_sent_in_order_under_one_key(
    channel: Any, client: BlockingPaycoreClient, run: Run
) -> None:
    called = run(lambda: client.submit_transfer_group(GROUP, actor=ACTOR, idempotency_key="key"))
    assert answer(channel, "SubmitTransferGroup", group_reply()) == SENT_GROUP
    assert called.result(5).group == 70

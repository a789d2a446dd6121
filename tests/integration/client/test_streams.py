"""A stream of the client outlives its connections and sends nothing twice under two keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from paycore.client import PaycoreClient, RefusedItem, Timeouts, TransferOrder, TransferReceipt
from paycore.client.errors import (
    ContentionError,
    NotPermittedError,
    ShuttingDownError,
    TimedOutError,
    UnexpectedReplyError,
    UnreachableError,
)
from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.errors import to_status
from paycore.v1 import transfer_pb2
from paycore.v1 import transfer_service_pb2 as pb2
from tests.integration.client.samples import ORDER, submitted
from tests.integration.client.scripted import Script

SHUTTING_DOWN = PaycoreError(Reason.SHUTTING_DOWN, "scripted", retry_after_ms=1)


def keyed(*keys: str) -> list[TransferOrder]:
    return [replace(ORDER, idempotency_key=key) for key in keys]


async def each(
    orders: list[TransferOrder], pause_s: float | None = None
) -> AsyncIterator[TransferOrder]:
    for order in orders:
        yield order
        if pause_s is not None:
            await asyncio.sleep(pause_s)


def answering(
    *, refusing: dict[str, PaycoreError] | None = None, only: set[str] | None = None
) -> Callable[[Any], Message]:
    """Outcomes of a message: posted, but for those named; with `only`, of these alone."""

    def answer(request: Any) -> Message:
        outcomes = []
        for one in request.transfers:
            key = one.idempotency_key
            if only is not None and key not in only:
                continue
            outcome = transfer_pb2.TransferOutcome(idempotency_key=key)
            if refusing and key in refusing:
                outcome.error.CopyFrom(to_status(refusing[key]))
            else:
                outcome.transfer.CopyFrom(submitted().transfer)
            outcomes.append(outcome)
        return pb2.StreamTransfersResponse(outcomes=reversed(outcomes))

    return answer


Outcomes = dict[str, TransferReceipt | RefusedItem]


async def collected(stream: Any, into: Outcomes | None = None) -> Outcomes:
    """The outcomes by key; `into` keeps them when the stream fails."""
    found = {} if into is None else into
    async for outcome in stream:
        assert outcome.idempotency_key not in found
        found[outcome.idempotency_key] = outcome
    return found


def sent(script: Script) -> list[list[str]]:
    """Keys of each message that the server read."""
    return [[one.idempotency_key for one in request.transfers] for request in script.requests]


async def test_what_is_ready_goes_in_one_message(client: PaycoreClient, script: Script) -> None:
    script.play(answering())
    keys = [f"key-{n}" for n in range(1_200)]
    outcomes = await collected(client.stream_transfers(each(keyed(*keys))))
    assert set(outcomes) == set(keys)
    assert all(isinstance(outcome, TransferReceipt) for outcome in outcomes.values())
    assert [len(message) for message in sent(script)] == [500, 500, 200]
    assert [key for message in sent(script) for key in message] == keys


async def test_an_order_that_comes_late_is_sent_at_once(
    client: PaycoreClient, script: Script
) -> None:
    script.play(answering())
    outcomes = await collected(client.stream_transfers(each(keyed("a", "b", "c"), pause_s=0.05)))
    assert set(outcomes) == {"a", "b", "c"}
    assert sent(script) == [["a"], ["b"], ["c"]]


async def test_orders_without_a_key_get_their_own(client: PaycoreClient, script: Script) -> None:
    script.play(answering())
    outcomes = await collected(client.stream_transfers(each([ORDER, ORDER])))
    assert len(outcomes) == 2


async def test_no_orders_need_no_connection(client: PaycoreClient, script: Script) -> None:
    assert await collected(client.stream_transfers(each([]))) == {}
    assert script.metadata == []


@pytest.mark.parametrize(
    "failure",
    [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, SHUTTING_DOWN],
    ids=str,
)
async def test_what_has_no_outcome_goes_over_the_next_connection(
    client: PaycoreClient, script: Script, failure: object
) -> None:
    orders = keyed("a", "b", "c")

    async def source() -> AsyncIterator[TransferOrder]:
        for order in orders[:2]:
            yield order
        await asyncio.sleep(0.2)
        yield orders[2]

    script.play(answering(only={"a"}), failure, answering())
    outcomes = await collected(client.stream_transfers(source()))
    assert set(outcomes) == {"a", "b", "c"}
    assert sent(script) == [["a", "b"], ["c"], ["b", "c"]]
    assert script.metadata[0]["x-request-id"] == script.metadata[1]["x-request-id"]


async def test_a_stream_that_ends_early_is_taken_up_again(target: str, script: Script) -> None:
    # Answers nothing, so that the client gives the connection up itself.
    script.play(lambda _: None, answering())  # type: ignore[return-value]
    async with PaycoreClient(target, timeouts=Timeouts(bulk_s=0.3)) as client:
        outcomes = await collected(client.stream_transfers(each(keyed("a"))))
    assert set(outcomes) == {"a"}
    assert sent(script) == [["a"], ["a"]]


async def test_what_is_refused_for_the_moment_is_sent_again_alone(
    client: PaycoreClient, script: Script
) -> None:
    passing = PaycoreError(Reason.CONTENTION, "scripted", retry_after_ms=100)
    script.play(answering(refusing={"b": passing}), answering())
    began = time.monotonic()
    outcomes = await collected(client.stream_transfers(each(keyed("a", "b", "c"))))
    assert time.monotonic() - began >= 0.1
    assert all(isinstance(outcome, TransferReceipt) for outcome in outcomes.values())
    assert sent(script) == [["a", "b", "c"], ["b"]]


async def test_a_verdict_is_an_outcome(client: PaycoreClient, script: Script) -> None:
    verdict = PaycoreError(Reason.NOT_PERMITTED, "scripted")
    script.play(answering(refusing={"b": verdict}))
    outcomes = await collected(client.stream_transfers(each(keyed("a", "b"))))
    refused = outcomes["b"]
    assert isinstance(refused, RefusedItem)
    assert isinstance(refused.error, NotPermittedError)
    assert not refused.error.outcome_unknown
    assert len(script.requests) == 1


async def test_contention_to_the_end_is_an_outcome(target: str, script: Script) -> None:
    script.play(answering(refusing={"a": PaycoreError(Reason.CONTENTION, "scripted")}))
    async with PaycoreClient(target, timeouts=Timeouts(total_s=0.4)) as client:
        outcomes = await collected(client.stream_transfers(each(keyed("a"))))
    refused = outcomes["a"]
    assert isinstance(refused, RefusedItem)
    assert isinstance(refused.error, ContentionError)
    assert refused.error.attempts > 1


async def test_at_most_the_window_is_without_an_outcome(
    client: PaycoreClient, script: Script
) -> None:
    script.play(answering())
    most = 0
    given = 0

    async def source() -> AsyncIterator[TransferOrder]:
        nonlocal given
        for order in keyed(*(str(n) for n in range(50))):
            given += 1
            yield order

    taken = 0
    async for _ in client.stream_transfers(source(), window=5):
        taken += 1
        # The next order may have been asked for before there was room for it.
        most = max(most, given - taken)
    assert taken == 50
    assert most <= 6
    assert max(len(message) for message in sent(script)) <= 5


async def test_when_nothing_is_learnt_to_the_end_the_open_keys_are_told(
    target: str, script: Script
) -> None:
    script.play(answering(only={"a"}), SHUTTING_DOWN)
    outcomes: Outcomes = {}
    async with PaycoreClient(target, timeouts=Timeouts(bulk_s=0.2, total_s=0.6)) as client:
        with pytest.raises((ShuttingDownError, TimedOutError)) as caught:
            await collected(client.stream_transfers(each(keyed("a", "b", "c"))), outcomes)
    assert set(outcomes) == {"a"}
    assert caught.value.unanswered == ("b", "c")
    assert caught.value.outcome_unknown
    assert caught.value.request_id


async def test_a_refused_stream_fails_at_once(client: PaycoreClient, script: Script) -> None:
    script.play(PaycoreError(Reason.NOT_PERMITTED, "scripted"))
    with pytest.raises(NotPermittedError) as caught:
        await collected(client.stream_transfers(each(keyed("a"))))
    assert caught.value.unanswered == ("a",)
    assert len(script.requests) == 1


async def test_a_server_that_stays_away_is_unreachable(unused_port: int) -> None:
    timeouts = Timeouts(total_s=0.5)
    async with PaycoreClient(f"127.0.0.1:{unused_port}", timeouts=timeouts) as client:
        with pytest.raises((UnreachableError, TimedOutError)):
            await collected(client.stream_transfers(each(keyed("a"))))


async def test_what_the_orders_raise_comes_after_what_was_sent_is_answered(
    client: PaycoreClient, script: Script
) -> None:
    async def source() -> AsyncIterator[TransferOrder]:
        yield keyed("a")[0]
        raise LookupError("out of orders")

    script.play(answering())
    outcomes: Outcomes = {}
    with pytest.raises(LookupError, match="out of orders"):
        await collected(client.stream_transfers(source()), outcomes)
    assert set(outcomes) == {"a"}


async def test_two_orders_with_one_key_under_way_are_a_fault(
    client: PaycoreClient, script: Script
) -> None:
    script.play(answering())
    with pytest.raises(ValueError, match="under way"):
        await collected(client.stream_transfers(each(keyed("a", "a"))))


async def test_an_outcome_nobody_asked_for_is_unexpected(
    client: PaycoreClient, script: Script
) -> None:
    script.play(
        pb2.StreamTransfersResponse(
            outcomes=[transfer_pb2.TransferOutcome(idempotency_key="another")]
        )
    )
    with pytest.raises(UnexpectedReplyError):
        await collected(client.stream_transfers(each(keyed("a"))))


async def test_who_stops_early_leaves_no_task(client: PaycoreClient, script: Script) -> None:
    script.play(answering())
    before = len(asyncio.all_tasks())
    async with aclosing(client.stream_transfers(each(keyed("a", "b"), pause_s=30))) as stream:
        first = await anext(stream)
    assert first.idempotency_key == "a"
    async with asyncio.timeout(20):
        while len(asyncio.all_tasks()) > before + 2:
            await asyncio.sleep(0.01)
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not names & {"orders", "sending"}

"""What a message says of holds and of what follows a transfer comes as plain values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.duration_pb2 import Duration

from operations.views.history import freshness_line
from paycore.client import TransferKind, TransferState, replies
from paycore.client.errors import UnexpectedReplyError
from paycore.v1 import freshness_pb2, transfer_pb2
from tests.integration.client.samples import transfer


@pytest.mark.parametrize(
    ("lag_us", "shown"), [(0, "0 ms"), (1_500_000, "1,500 ms"), (None, "unknown how far")]
)
def test_a_lag_that_is_not_known_is_none(lag_us: int | None, shown: str) -> None:
    message = freshness_pb2.Freshness(source="elasticsearch", position="p")
    if lag_us is not None:
        message.lag.CopyFrom(Duration())
        message.lag.FromMicroseconds(lag_us)
    read = replies.freshness(message)
    assert read.lag == (None if lag_us is None else timedelta(microseconds=lag_us))
    assert f"from elasticsearch, {shown} behind the ledger" in freshness_line(read)


def test_a_transfer_that_follows_none_says_so() -> None:
    read = replies.transfer(transfer())
    assert (read.parent_id, read.parent_sequence, read.parent_remaining) == (None, None, None)
    assert (read.parent_state, read.released, read.remaining) == (None, None, None)
    assert (read.expires_at, read.group_id, read.review_rule) == (None, None, "")
    assert read.debit_held_after is None


def test_a_hold_says_until_when_and_how_much() -> None:
    message = transfer()
    message.kind = transfer_pb2.TRANSFER_KIND_HOLD
    message.state = transfer_pb2.TRANSFER_STATE_PARTIALLY_CAPTURED
    message.credit_version = 0
    message.debit_held_after = 0
    message.remaining_minor_units = 200
    message.expire_time.FromMicroseconds(1_790_000_000_123_456)
    message.review_rule = "new-payee"
    message.group_id = 44
    read = replies.transfer(message)
    assert (read.kind, read.state) == (TransferKind.HOLD, TransferState.PARTIALLY_CAPTURED)
    assert (read.debit_held_after, read.remaining) == (0, 200)
    assert read.expires_at == datetime(2026, 9, 21, 14, 13, 20, 123456, UTC)
    assert (read.review_rule, read.group_id) == ("new-payee", 44)


def test_a_child_says_what_it_made_of_its_parent() -> None:
    message = transfer()
    message.kind = transfer_pb2.TRANSFER_KIND_CAPTURE
    message.parent_id = 98
    message.parent_sequence = 2
    message.parent_remaining_minor_units = 0
    message.parent_state = transfer_pb2.TRANSFER_STATE_CAPTURED
    message.released_minor_units = 30
    read = replies.transfer(message)
    assert (read.parent_id, read.parent_sequence, read.parent_remaining) == (98, 2, 0)
    assert (read.parent_state, read.released) == (TransferState.CAPTURED, 30)


@pytest.mark.parametrize("kind", TransferKind)
def test_every_kind_is_known(kind: TransferKind) -> None:
    message = transfer()
    message.kind = transfer_pb2.TransferKind.Value(f"TRANSFER_KIND_{kind}")
    assert replies.transfer(message).kind is kind


@pytest.mark.parametrize("state", TransferState)
def test_every_state_is_known_of_a_transfer_and_of_its_parent(state: TransferState) -> None:
    message = transfer()
    message.state = transfer_pb2.TransferState.Value(f"TRANSFER_STATE_{state}")
    message.parent_state = message.state
    read = replies.transfer(message)
    assert (read.state, read.parent_state) == (state, state)


def test_a_parents_state_of_a_newer_service_is_an_unexpected_reply() -> None:
    strange = transfer()
    strange.MergeFromString(bytes([24 << 3 & 0x7F | 0x80, 24 >> 4, 77]))
    with pytest.raises(UnexpectedReplyError, match="77"):
        replies.transfer(strange)

"""What the fuzz sends: everything that it promises, and nothing that only wears it out."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from google.protobuf.message import DecodeError

from paycore.v1 import transfer_service_pb2
from tests.support.callers import payment
from tests.support.fuzzing.messages import MOST_BYTES, Messages
from tests.support.fuzzing.mutants import Mutants
from tests.support.fuzzing.values import Known

ROUNDS = 3_000
LARGEST = 4 * MOST_BYTES

KINDS = {
    *("another value", "left out", "again", "another type", "cut", "too deep", "flipped"),
    *("added", "unknown field", "spoiled"),
}

Request = transfer_service_pb2.SubmitTransfersRequest


@pytest.fixture
def request_bytes() -> bytes:
    items = [payment(7, 8, metadata={"a": "b", "c": "d"}) for _ in range(5)]
    return Request(transfers=items).SerializeToString()


def test_one_thing_is_altered_at_any_depth(rng: random.Random, request_bytes: bytes) -> None:
    mutants = Mutants(rng, Messages(rng, Known(rng)))
    kinds: Counter[str] = Counter()
    read = refused = 0
    for _ in range(ROUNDS):
        kind, mutant = mutants.of(Request.DESCRIPTOR, request_bytes)
        kinds[kind] += 1
        assert len(mutant) <= LARGEST, kind
        try:
            read += (
                Request.FromString(mutant).transfers != Request.FromString(request_bytes).transfers
            )
        except DecodeError:
            refused += 1
    assert kinds.keys() == KINDS
    assert read > ROUNDS / 4, "most of what is altered still reads as a request"
    assert refused > ROUNDS / 20


@pytest.mark.parametrize(
    "descriptor", list(transfer_service_pb2.DESCRIPTOR.message_types_by_name.values())
)
def test_made_up_requests_are_bounded(rng: random.Random, descriptor: object) -> None:
    """Lists within lists, each of thousands, would be gigabytes."""
    messages = Messages(rng, Known(rng))
    made = [messages.request(descriptor) for _ in range(100)]  # type: ignore[arg-type]
    assert max(map(len, made)) <= LARGEST
    assert len(set(made)) > 1

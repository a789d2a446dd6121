"""What is decoded, and how many bytes of requests wait at once."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.channel import MAX_MESSAGE_BYTES
from paycore.runtime.intake import MOST_FIELDS, SMALL_BYTES, Intake, decoded
from paycore.v1 import transfer_service_pb2 as transfers

EMPTY_ITEM = b"\x0a\x00"
MIXED = (
    EMPTY_ITEM,
    b"\x0a\x81\x01" + b"\x12\x7f" + b"x" * 127,  # An item of 129 bytes.
    b"\xf8\x01\x96\x01",  # What later versions may add: a varint, 8 bytes, 4 bytes.
    b"\xf9\x01" + b"\xff" * 8,
    b"\xfd\x01" + b"\xff" * 4,
)


def test_as_many_fields_as_any_list_needs_are_decoded() -> None:
    request = decoded(transfers.SubmitTransfersRequest, EMPTY_ITEM * MOST_FIELDS)
    assert isinstance(request, transfers.SubmitTransfersRequest)
    assert len(request.transfers) == MOST_FIELDS


@pytest.mark.parametrize("field", MIXED, ids=["empty", "long", "varint", "8 bytes", "4 bytes"])
@pytest.mark.parametrize("too_many", [0, 1])
def test_every_kind_of_field_counts(field: bytes, too_many: int) -> None:
    raw = field * (MOST_FIELDS + too_many)
    if not too_many:
        decoded(transfers.SubmitTransfersRequest, raw)
        return
    with pytest.raises(PaycoreError) as refused:
        decoded(transfers.SubmitTransfersRequest, raw)
    assert refused.value.reason is Reason.INVALID_FIELD


@given(
    prefix=st.binary(max_size=40),
    repeats=st.integers(MOST_FIELDS, MOST_FIELDS + 50),
    end=st.binary(max_size=20),
)
def test_whatever_comes_is_decoded_or_refused(prefix: bytes, repeats: int, end: bytes) -> None:
    # Nothing else is raised.
    with contextlib.suppress(PaycoreError):
        decoded(transfers.SubmitTransfersRequest, prefix + EMPTY_ITEM * repeats + end)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("begin", [b"\x0a", b"\x08", b""], ids=["length", "number", "key"])
def test_a_number_without_an_end_is_refused_at_once(begin: bytes) -> None:
    with pytest.raises(PaycoreError) as refused:
        decoded(transfers.SubmitTransfersRequest, begin + b"\xff" * (MAX_MESSAGE_BYTES - 1))
    assert refused.value.reason is Reason.INVALID_FIELD


def test_bytes_are_counted_by_client_and_in_all_until_they_leave() -> None:
    size = SMALL_BYTES
    intake = Intake(most_bytes=3 * size, most_bytes_of_client=2 * size)
    raw = bytes(size)
    assert intake.take("app", raw[1:]) == 0
    taken = [intake.take("app", raw), intake.take("app", raw)]
    assert taken == [size, size]
    _is_overloaded(intake, "app", raw)
    assert intake.take("other", raw) == size
    _is_overloaded(intake, "third", raw)
    intake.leave("app", size)
    assert intake.take("third", raw) == size
    for client in ("app", "other", "third"):
        intake.leave(client, size)
    assert [intake.take("app", raw), intake.take("app", raw)] == taken


def _is_overloaded(intake: Intake, client: str, raw: bytes) -> None:
    with pytest.raises(PaycoreError) as refused:
        intake.take(client, raw)
    assert refused.value.reason is Reason.OVERLOADED
    assert refused.value.retry_after_ms is not None

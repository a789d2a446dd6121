"""Ids of the stream's entries, and its keys."""

from __future__ import annotations

import pytest

from paycore.domain.stream import NOWHERE, EntryId, epoch_key, stream_key


@pytest.mark.parametrize("entry", [NOWHERE, EntryId(0, 1), EntryId(12, 345), EntryId(10**19, 9)])
def test_an_id_is_read_as_it_is_written(entry: EntryId) -> None:
    assert EntryId.parse(str(entry)) == entry


@pytest.mark.parametrize(
    "text", ["", "1", "1-", "-1", "1-2-3", "01-1", "1-01", "1-x", " 1-1", "1-1\n", f"{10**20}-1"]
)
def test_another_text_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="not the id of an entry"):
        EntryId.parse(text)


def test_entries_are_in_order_of_transaction_and_then_of_number() -> None:
    assert NOWHERE < EntryId(1, 9) < EntryId(2, 1) < EntryId(2, 2)


def test_each_epoch_has_a_key_and_none_is_that_of_the_epochs() -> None:
    assert stream_key("p:t", 1) == "p:t:1"
    assert stream_key("p:t", 2) == "p:t:2"
    assert epoch_key("p:t") == "p:t:epoch"

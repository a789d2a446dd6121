"""What the stream keeps is compared with the journal, entry by entry."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.crashing.stream_tail import Due, Entry, due_entries, tail_breaches
from tests.unit.support.crashing_world import right_world

Spoil = Callable[[list[Entry]], list[Entry]]


def wanted() -> list[Due]:
    return due_entries(right_world().tables)


def due() -> list[Entry]:
    return [(one.name, one.fields) for one in wanted()]


def falsified(entries: list[Entry], place: int, **fields: str) -> list[Entry]:
    name, told = entries[place]
    return [*entries[:place], (name, {**told, **fields}), *entries[place:][1:]]


def test_entries_follow_the_journal() -> None:
    entries = due()
    assert [name for name, _ in entries][:3] == ["110-1", "111-1", "112-1"]
    assert entries[0][1]["previous"] == "0-0"
    assert entries[1][1]["previous"] == "110-1"
    assert {told["event"] for _, told in entries} == {"TRANSFER", "DECLINE"}


@pytest.mark.parametrize("kept", [1, 3, 100])
def test_a_tail_of_any_length_is_right(kept: int) -> None:
    assert list(tail_breaches(due()[-kept:], wanted())) == []


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda kept: [], "the stream is empty"),
        (lambda kept: kept[:-1], "where 131-1 is due"),
        (lambda kept: [*kept[:3], *kept[4:]], "is due"),
        (lambda kept: [*kept, kept[-1]], "is due"),
        (lambda kept: falsified(kept, 4, amount="1"), "says amount 1, not 5"),
        (lambda kept: falsified(kept, 4, previous="0-0"), "says previous 0-0"),
        (lambda kept: [("1-1", kept[0][1]), *kept], "the stream has 12 entries, the journal 11"),
    ],
    ids=["empty", "not to the end", "a gap", "twice", "a figure", "a chain", "made up"],
)
def test_what_is_wrong_is_found(spoil: Spoil, word: str) -> None:
    found = list(tail_breaches(spoil(due()), wanted()))
    assert any(word in one for one in found), found

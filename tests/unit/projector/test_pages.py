"""Whatever the order in which the journal is read, and however often, the latest state stands."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from projector.batch import Document, DocumentKind
from projector.pages import PageRows, page_documents, parents
from tests.unit.projector.test_documents import ACCOUNTS, TRANSFER

PARENT = 100


class Reading(NamedTuple):
    """Journal rows of one page, and how many children the ledger had when it was read."""

    journal: Sequence[int]
    children: int


def child(sequence: int, of: int) -> dict[str, Any]:
    """The refund that came `sequence`-th of `of`, one unit each."""
    state = "REFUNDED" if sequence == of else "PARTIALLY_REFUNDED"
    return {
        **TRANSFER, "id": PARENT + sequence, "kind": "REFUND", "amount": 1, "parent_id": PARENT,
        "parent_sequence": sequence, "parent_remaining": of - sequence, "parent_state": state,
    }  # fmt: skip


def ledger(children: int) -> dict[int, dict[str, Any]]:
    """A transfer and all that will follow it, by id."""
    parent = {**TRANSFER, "id": PARENT, "amount": children}
    return {PARENT: parent} | {
        PARENT + number: child(number, children) for number in range(1, children + 1)
    }


def documents(rows: Mapping[int, Mapping[str, Any]], reading: Reading) -> list[Document]:
    """What a page makes: row n of the journal posts the parent (0) or its n-th child."""
    journal = [
        {"transfers": [PARENT + number], "declines": [], "accounts": []}
        for number in reading.journal
    ]
    transfers = {PARENT + number: rows[PARENT + number] for number in reading.journal}
    transfers |= {key: rows[key] for key in parents(transfers)}
    latest = {}
    if reading.children:
        latest[PARENT] = {**rows[PARENT + reading.children], "id": PARENT}
    return page_documents(journal, PageRows(transfers, {}, ACCOUNTS, latest))


def index(written: Iterable[Document]) -> dict[int, dict[str, Any]]:
    """What an index holds that takes only versions above the one that it has."""
    held: dict[int, Document] = {}
    for document in written:
        if document.kind is DocumentKind.TRANSFER:
            known = held.get(document.id)
            if known is None or document.version > known.version:
                held[document.id] = document
    return {key: json.loads(document.body) for key, document in held.items()}


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[Reading]]:
    """A number of children, and pages that name each of them and the parent at least once."""
    children = draw(st.integers(0, 6))
    readings = []
    rows = st.lists(st.integers(0, children), min_size=1, max_size=4, unique=True)
    for _ in range(draw(st.integers(0, 6))):
        journal = draw(rows)
        # A row can be read only once its transfer is there.
        readings.append(Reading(journal, draw(st.integers(max(journal), children))))
    missing = set(range(children + 1)).difference(*(one.journal for one in readings))
    readings += [Reading([number], draw(st.integers(number, children))) for number in missing]
    return children, draw(st.permutations(readings))


@given(histories())
def test_any_order_of_pages_and_repeats_leaves_the_latest_state(
    history: tuple[int, list[Reading]],
) -> None:
    children, readings = history
    rows = ledger(children)
    found = index(document for one in readings for document in documents(rows, one))
    assert found.keys() == rows.keys()
    if children:
        assert (found[PARENT]["state"], found[PARENT]["remaining"]) == ("REFUNDED", 0)
    else:
        assert (found[PARENT]["state"], "remaining" in found[PARENT]) == ("POSTED", False)
    for number in range(1, children + 1):
        assert found[PARENT + number]["state"] == "POSTED"
        assert found[PARENT + number]["parent_remaining"] == children - number


@given(histories())
def test_a_parent_never_goes_back(history: tuple[int, list[Reading]]) -> None:
    children, readings = history
    rows = ledger(children)
    written: list[Document] = []
    left = children
    for one in readings:
        written += documents(rows, one)
        parent = index(written).get(PARENT)
        if parent is not None:
            now = parent.get("remaining", children)
            assert now <= left
            left = now


def test_copies_of_one_version_are_alike() -> None:
    rows = ledger(2)
    at_posting = documents(rows, Reading([0], 2))
    by_child = documents(rows, Reading([1], 2))
    [first] = [one for one in at_posting if one.id == PARENT]
    [again] = [one for one in by_child if one.id == PARENT]
    assert first == again


def test_a_page_writes_a_parent_once_however_many_follow_it() -> None:
    rows = ledger(5)
    for journal in ([1, 2, 3], [0, 1, 2, 3]):
        made = [one for one in documents(rows, Reading(journal, 5)) if one.id == PARENT]
        assert [one.version for one in made] == [6]

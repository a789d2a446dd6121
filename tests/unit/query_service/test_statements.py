"""A page balances, or what is wrong with it is found, whatever part of it was altered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from paycore.domain.accounts import AccountId
from paycore.domain.money import Minor
from paycore.domain.transfers import TransferId, TransferKind
from query_service.readers.records import EntryRecord, StatementPage
from query_service.statements import fault

CHANGES = st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=12)
OPENED_AT = 7


def page_of(opening: int, changes: list[int]) -> StatementPage:
    entries, balance = [], opening
    for version, change in enumerate(changes, OPENED_AT + 1):
        balance += change
        entries.append(
            EntryRecord(
                TransferId(version),
                version,
                version,
                TransferKind.TRANSFER,
                AccountId(1),
                change,
                Minor(balance),
                "",
                "",
                None,
                0,
            )
        )
    return StatementPage(Minor(opening), entries)


@given(st.integers(-(2**40), 2**40), CHANGES)
def test_what_follows_on_its_opening_has_no_fault(opening: int, changes: list[int]) -> None:
    page = page_of(opening, changes)
    assert fault(page, OPENED_AT, gap_free=True) is None
    assert page.closing == opening + sum(changes)


@given(CHANGES, st.data())
def test_an_altered_figure_is_found(changes: list[int], data: st.DataObject) -> None:
    page = page_of(100, changes)
    place = data.draw(st.integers(0, len(changes) - 1))
    by = data.draw(st.integers(1, 9))
    entry = page.entries[place]
    for altered in (
        entry._replace(change=entry.change + by),
        entry._replace(balance_after=Minor(entry.balance_after - by)),
        entry._replace(version=entry.version - by),
    ):
        entries = [*page.entries]
        entries[place] = altered
        assert fault(StatementPage(page.opening, entries), OPENED_AT, gap_free=True) is not None
    assert fault(StatementPage(Minor(100 + by), page.entries), OPENED_AT, gap_free=True) is not None


@given(CHANGES, st.data())
def test_a_missing_entry_is_found(changes: list[int], data: st.DataObject) -> None:
    page = page_of(0, changes)
    place = data.draw(st.integers(0, len(changes) - 1))
    entries = [*page.entries[:place], *page.entries[place + 1 :]]
    # What is missing at the end is seen by nobody but the next page.
    if place < len(changes) - 1:
        assert fault(StatementPage(Minor(0), entries), OPENED_AT, gap_free=True) is not None
        # Where holds are left out, only what moved something is missed.
        loose = fault(StatementPage(Minor(0), entries), OPENED_AT, gap_free=False)
        assert (loose is None) == (changes[place] == 0)


def test_an_empty_page_closes_as_it_opens() -> None:
    page = StatementPage(Minor(5), [])
    assert fault(page, OPENED_AT, gap_free=True) is None
    assert page.closing == 5

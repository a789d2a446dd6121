"""What the names of indices say, and where a document goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from projector.batch import Document, DocumentKind
from projector.sinks.elastic_layout import (
    Layout,
    Named,
    alias,
    later,
    month_of,
    month_start_us,
    parse,
    write_alias,
)

TIMES_US = st.integers(0, 4_000_000_000_000_000)


@given(TIMES_US, st.integers(1, 10**6))
def test_a_name_is_read_as_it_was_written(time_us: int, generation: int) -> None:
    month = month_of(time_us)
    layout = Layout("some-prefix", generation)
    transfers = layout.index(DocumentKind.TRANSFER, month)
    assert parse("some-prefix", transfers) == Named(DocumentKind.TRANSFER, generation, month)
    accounts = layout.index(DocumentKind.ACCOUNT)
    assert parse("some-prefix", accounts) == Named(DocumentKind.ACCOUNT, generation, "")


@given(TIMES_US)
def test_a_document_goes_to_the_month_in_which_it_was_made(time_us: int) -> None:
    document = Document(DocumentKind.TRANSFER, 1, 1, b"{}", time_us)
    month = month_of(time_us)
    assert month_start_us(month) <= time_us < month_start_us(later(month, 1))
    expected = write_alias(Layout("p", 2).index(DocumentKind.TRANSFER, month))
    assert Layout("p", 2).target(document) == expected
    assert Layout("p", 0).target(document) == alias("p", DocumentKind.TRANSFER)


def test_other_names_are_nobodys() -> None:
    for name in (
        "p-transfers-v3", "p-transfers-g0-2026.11", "p-transfers-g1", "p-accounts-g1-2026.11",
        "p-positions", "p-other-transfers-g1-2026.11", "q-transfers-g1-2026.11", "p-accounts-g01",
        "p-transfers-g1-2026.11-write",
    ):  # fmt: skip
        assert parse("p", name) is None

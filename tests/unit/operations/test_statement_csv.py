"""A statement as CSV: right in every currency, and no text in it is a formula."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest

from operations.statement_csv import COLUMNS, StatementCsv, harmless
from paycore.client import (
    Freshness,
    Money,
    StatementEntry,
    StatementPage,
    TransferKind,
    Unreadable,
)

START = datetime(2026, 10, 1, tzinfo=UTC)
NO_LAG = Freshness("postgresql", "", timedelta(0))


def entry(change: int, balance: int, text: str = "") -> StatementEntry:
    return StatementEntry(
        9001, 4, START, TransferKind.TRANSFER, 7042, change, balance, text, text, None, 0
    )


def page(currency: str, *entries: StatementEntry) -> StatementPage:
    opening = entries[0].balance_after - entries[0].change
    return StatementPage(
        7041,
        Money(opening, currency),
        entries,
        Money(entries[-1].balance_after, currency),
        "",
        NO_LAG,
    )


def written(page: StatementPage) -> list[dict[str, str]]:
    file = io.StringIO(newline="")
    table = StatementCsv(file)
    table.opening(START, page)
    table.entries(page)
    table.closing(START, page)
    file.seek(0)
    return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("currency", "opening", "change", "closing"),
    [
        ("JPY", "1000", "-1234567", "-1233567"),
        ("USD", "10.00", "-12345.67", "-12335.67"),
        ("BHD", "1.000", "-1234.567", "-1233.567"),
    ],
)
def test_amounts_have_their_currencys_decimals_and_nothing_set_apart(
    currency: str, opening: str, change: str, closing: str
) -> None:
    first, line, last = written(page(currency, entry(-1_234_567, -1_233_567)))
    assert (first["kind"], first["balance"]) == ("OPENING", opening)
    assert (line["amount"], line["balance"], line["currency"]) == (change, closing, currency)
    assert (last["kind"], last["balance"]) == ("CLOSING", closing)
    assert tuple(line) == COLUMNS


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_a_formula_is_text(text: str) -> None:
    _, line, _ = written(page("EUR", entry(1, 1, text)))
    assert line["description"] == line["reference"] == f"'{text}"


@pytest.mark.parametrize("text", ["", "rent", 'a "quoted", one', "two\nlines", "für 1=1"])
def test_other_text_is_as_it_was(text: str) -> None:
    assert harmless(text) == text
    _, line, _ = written(page("EUR", entry(1, 1, text)))
    assert line["description"] == text


def test_a_description_that_cannot_be_read_is_empty() -> None:
    gone = StatementEntry(1, 1, START, TransferKind.FEE, 2, -1, -1, "", "", Unreadable.ERASED, 5)
    _, line, _ = written(page("EUR", gone))
    assert (line["description"], line["follows"]) == ("", "5")

"""A statement as a table for spreadsheets and programs (RFC 4180)."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from typing import TextIO

from operations.money import plain_amount
from paycore.client import StatementEntry, StatementPage

COLUMNS = (
    "time", "entry", "transfer", "kind", "with_account", "amount", "balance", "currency",
    "follows", "reference", "description",
)  # fmt: skip

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""With these a spreadsheet takes a cell's text for a formula, which whoever paid may have written
(OWASP, "CSV Injection")."""


class StatementCsv:
    """Writes pages as they come, between a line for the opening and one for the closing."""

    def __init__(self, file: TextIO) -> None:
        self._rows = csv.writer(file)
        self._rows.writerow(COLUMNS)

    def opening(self, start: datetime, page: StatementPage) -> None:
        """The first line, of the first page."""
        self._balance("OPENING", start, page.opening.minor_units, page.opening.currency)

    def entries(self, page: StatementPage) -> None:
        """A line an entry."""
        for entry in page.entries:
            self._rows.writerow(_row(entry, page.opening.currency))

    def closing(self, end: datetime, page: StatementPage) -> None:
        """The last line, of the last page."""
        self._balance("CLOSING", end, page.closing.minor_units, page.closing.currency)

    def _balance(self, kind: str, at: datetime, balance: int, currency: str) -> None:
        amount = plain_amount(balance, currency)
        self._rows.writerow((_time(at), "", "", kind, "", "", amount, currency, "", "", ""))


def _row(entry: StatementEntry, currency: str) -> tuple[object, ...]:
    return (
        _time(entry.created_at),
        entry.version,
        entry.transfer,
        entry.kind.value,
        entry.counterparty,
        plain_amount(entry.change, currency),
        plain_amount(entry.balance_after, currency),
        currency,
        entry.parent_id or "",
        harmless(entry.reference),
        harmless(entry.description),
    )


def harmless(text: str) -> str:
    """`text` so that no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

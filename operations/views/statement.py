"""An account's entries between two balances."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from operations.money import format_amount
from operations.views.as_is import as_is
from paycore.client import StatementEntry, StatementPage


def statement_table(pages: list[StatementPage]) -> Table:
    """One line an entry, between the opening and the closing balance."""
    first, last = pages[0], pages[-1]
    currency = first.opening.currency
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("time (UTC)", no_wrap=True)
    table.add_column("entry", justify="right", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("with account", justify="right", no_wrap=True)
    table.add_column(f"amount {currency}", justify="right", no_wrap=True)
    table.add_column("balance", justify="right", no_wrap=True)
    # The only column that may wrap, so the only one that gives way where the terminal is narrow.
    table.add_column("note", min_width=8)
    opening = format_amount(first.opening.minor_units, currency)
    table.add_row("", "", "opening", "", "", f"[bold]{opening}[/]", "")
    for page in pages:
        for entry in page.entries:
            table.add_row(*_row(entry, currency))
    closing = format_amount(last.closing.minor_units, currency)
    table.add_row("", "", "closing", "", "", f"[bold]{closing}[/]", "")
    return table


def _row(entry: StatementEntry, currency: str) -> tuple[str | Text, ...]:
    amount = format_amount(entry.change, currency)
    style = "green" if entry.change > 0 else "red" if entry.change else "dim"
    sign = "+" if entry.change > 0 else ""
    follows = f"follows {entry.parent_id}" if entry.parent_id else ""
    note = ", ".join(part for part in (follows, entry.reference or entry.description) if part)
    return (
        f"{entry.created_at:%Y-%m-%d %H:%M:%S}",
        str(entry.version),
        entry.kind.value.lower().replace("_", " "),
        str(entry.counterparty),
        f"[{style}]{sign}{amount}[/]",
        format_amount(entry.balance_after, currency),
        as_is(note),
    )

"""Transfers of many accounts, as a search finds them."""

from __future__ import annotations

from rich.table import Table

from operations.money import format_amount
from operations.views.as_is import as_is
from operations.views.history import words
from paycore.client import TotalCount, Transfer


def found_table(transfers: list[Transfer]) -> Table:
    """One line a transfer, with both its accounts."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("time (UTC)", "transfer", "kind", "state", "from account", "to account"):
        table.add_column(title, no_wrap=True)
    table.add_column("amount", justify="right", no_wrap=True)
    table.add_column("note", min_width=8)
    for transfer in transfers:
        amount = format_amount(transfer.amount.minor_units, transfer.amount.currency)
        said = (transfer.reference, transfer.description)
        table.add_row(
            f"{transfer.created_at:%Y-%m-%d %H:%M:%S}",
            str(transfer.id),
            words(transfer.kind.value),
            words(transfer.state.value),
            str(transfer.debit_account),
            str(transfer.credit_account),
            f"{amount} {transfer.amount.currency}",
            as_is(", ".join(part for part in said if part)),
        )
    return table


def total_line(shown: int, total: TotalCount | None) -> str:
    """How many there are, where that was asked."""
    if total is None:
        return f"[dim]{shown} shown[/]"
    least = "at least " if total.at_least else ""
    return f"[dim]{shown} of {least}{total.count:,} shown[/]"

"""Lists of what waits for an operator."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from operations.desk import ShortReversal, WaitingReview
from operations.money import format_money
from operations.views.as_is import as_is


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(
            column, no_wrap=True, justify="right" if column in ("amount", "has now") else "left"
        )
    return table


def reviews_table(reviews: Sequence[WaitingReview]) -> Table:
    """One line a payment."""
    table = _table("since (UTC)", "payment", "rule", "from", "to", "amount", "asked by")
    for one in reviews:
        table.add_row(
            f"{one.since:%Y-%m-%d %H:%M:%S}",
            str(one.transfer),
            as_is(one.rule),
            str(one.debit_account),
            str(one.credit_account),
            format_money(one.amount.minor_units, one.amount.currency),
            as_is(one.client),
        )
    return table


def reversals_table(reversals: Sequence[ShortReversal]) -> Table:
    """One line a transfer; an account that has enough by now is shown so."""
    table = _table("since (UTC)", "transfer", "from", "has now", "amount", "asked by")
    for one in reversals:
        enough = one.available >= one.amount.minor_units
        has = format_money(one.available, one.amount.currency)
        table.add_row(
            f"{one.since:%Y-%m-%d %H:%M:%S}",
            str(one.transfer),
            str(one.debit_account),
            f"[green]{has}[/]" if enough else f"[red]{has}[/]",
            format_money(one.amount.minor_units, one.amount.currency),
            as_is(one.client),
        )
    return table

"""An account as it stands."""

from __future__ import annotations

from rich.table import Table

from operations.money import format_money
from operations.views.as_is import as_is
from paycore.client import Account, AccountKind


def account_table(account: Account) -> Table:
    """A line for each thing that is known of it."""

    def money(minor_units: int) -> str:
        return format_money(minor_units, account.currency)

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("account", f"[bold]{account.id}[/]")
    table.add_row("owner", as_is(account.owner))
    table.add_row("institution", as_is(account.institution))
    table.add_row("kind", f"{account.kind}, {account.status}")
    table.add_row("balance", f"[bold]{money(account.balance)}[/]")
    if account.kind is AccountKind.CUSTOMER:
        table.add_row("available", money(account.available))
        table.add_row("held", money(account.held))
        table.add_row("overdraft limit", money(account.overdraft_limit))
    table.add_row("entries", str(account.version))
    for name, value in sorted(account.metadata.items()):
        table.add_row(as_is(name), as_is(value))
    opened = f"{account.created_at:%Y-%m-%d %H:%M:%S} UTC by {account.opened_by}"
    table.add_row("opened", as_is(opened))
    return table

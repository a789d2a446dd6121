"""`paycore balance`: what an account has, or had at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Group
from rich.table import Table

from operations.cli import options
from operations.cli.output import Output, run
from operations.deployment import find_deployment
from operations.money import format_money
from operations.views.history import freshness_line
from paycore.client import Balance


def balance(
    account: Annotated[int, typer.Argument(help="Id of the account.")],
    at: Annotated[
        datetime | None,
        typer.Option(help="After the last entry at or before this time, UTC.", show_default="now"),
    ] = None,
    min_position: Annotated[
        str, typer.Option(help="Wait for the write with this position to be included.")
    ] = "",
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Show an account's balance, now or at a time."""
    output = Output(as_json=as_json)
    moment = None if at is None else at.replace(tzinfo=at.tzinfo or UTC)

    async def work() -> Balance:
        async with find_deployment(state, identity).client() as client:
            return await client.get_balance(account, at=moment, min_position=min_position)

    found = run(output, work)
    output.show(Group(_table(found), freshness_line(found.freshness)), found)


def _table(found: Balance) -> Table:
    def money(minor_units: int) -> str:
        return format_money(minor_units, found.balance.currency)

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("account", f"[bold]{found.account}[/]")
    table.add_row("balance", f"[bold]{money(found.balance.minor_units)}[/]")
    table.add_row("held", money(found.held))
    if found.available is not None:
        table.add_row("available", money(found.available))
    table.add_row("entries", str(found.version))
    return table

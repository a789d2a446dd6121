"""`paycore account`: open and look at accounts."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from operations.cli import options
from operations.cli.output import Output, run
from operations.deployment import find_deployment
from operations.errors import UsageError
from operations.money import format_money, parse_amount
from paycore.client import Account, AccountKind, AccountReceipt, NewAccount

app = typer.Typer(help="Open and look at accounts.", no_args_is_help=True)


@app.command(epilog="Example: paycore account create ada Nordbank EUR --overdraft 100.00")
def create(
    owner: Annotated[str, typer.Argument(help="User whom step-up asks.")],
    institution: Annotated[str, typer.Argument(help="Bank that holds the account.")],
    currency: Annotated[str, typer.Argument(help="ISO 4217 code, such as EUR.")],
    kind: Annotated[
        AccountKind,
        typer.Option(
            case_sensitive=False, help="EXTERNAL stands for the world outside and has no floor."
        ),
    ] = AccountKind.CUSTOMER,
    overdraft: Annotated[
        str, typer.Option(help="How far below zero it may go, as a decimal.")
    ] = "0",
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Open an account at balance zero."""
    output = Output(as_json=as_json)

    async def work() -> AccountReceipt:
        limit = amount(overdraft, currency)
        async with find_deployment(state, identity).client() as client:
            return await client.create_account(
                NewAccount(
                    owner=owner,
                    institution=institution,
                    currency=currency,
                    kind=kind,
                    overdraft_limit=limit,
                    idempotency_key=key,
                )
            )

    receipt = run(output, work)
    output.show(_table(receipt.account), receipt)


@app.command(epilog="Example: paycore account show 7041")
def show(
    account: Annotated[int, typer.Argument(help="Id of the account.")],
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Show an account as it stands in the ledger now, never stale."""
    output = Output(as_json=as_json)

    async def work() -> Account:
        async with find_deployment(state, identity).client() as client:
            return await client.get_account(account)

    found = run(output, work)
    output.show(_table(found), found)


def amount(text: str, currency: str) -> int:
    """`parse_amount` whose complaint is about the command line."""
    try:
        return parse_amount(text, currency)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _table(account: Account) -> Table:
    def money(minor_units: int) -> str:
        return format_money(minor_units, account.currency)

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("account", f"[bold]{account.id}[/]")
    table.add_row("owner", account.owner)
    table.add_row("institution", account.institution)
    table.add_row("kind", f"{account.kind}, {account.status}")
    table.add_row("balance", f"[bold]{money(account.balance)}[/]")
    if account.kind is AccountKind.CUSTOMER:
        table.add_row("available", money(account.available))
        table.add_row("held", money(account.held))
        table.add_row("overdraft limit", money(account.overdraft_limit))
    table.add_row("entries", str(account.version))
    table.add_row("opened", f"{account.created_at:%Y-%m-%d %H:%M:%S} UTC by {account.opened_by}")
    return table

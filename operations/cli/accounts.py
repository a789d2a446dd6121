"""`paycore account`: open, look at, name and limit accounts."""

from __future__ import annotations

from typing import Annotated

import typer

from operations.cli import options
from operations.cli.names import account_name, identifier, metadata
from operations.cli.output import Output, run
from operations.deployment import find_deployment
from operations.errors import UsageError
from operations.money import parse_amount
from operations.views.accounts import account_table
from paycore.client import Account, AccountKind, AccountReceipt, NewAccount

app = typer.Typer(help="Open, look at, name and limit accounts.", no_args_is_help=True)


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
    told: Annotated[
        list[str] | None,
        typer.Option(
            "--metadata",
            metavar="NAME=VALUE",
            help="Kept with the account; personal data, erasable. Repeat for several.",
        ),
    ] = None,
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
                    metadata=metadata(told),
                    idempotency_key=key,
                )
            )

    receipt = run(output, work)
    output.show(account_table(receipt.account), receipt)


@app.command(epilog="Example: paycore account show 7041")
def show(
    account: Annotated[str, typer.Argument(help="Id of the account, or scheme:value.")],
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Show an account as it stands in the ledger now, never stale."""
    output = Output(as_json=as_json)

    async def work() -> Account:
        async with find_deployment(state, identity).client() as client:
            return await client.get_account(account_name(account))

    found = run(output, work)
    output.show(account_table(found), found)


@app.command(epilog="Example: paycore account set-limit 7041 250.00 'agreed today' --as operator")
def set_limit(
    account: Annotated[str, typer.Argument(help="Id of the account, or scheme:value.")],
    limit: Annotated[str, typer.Argument(help="How far below zero it may go, as a decimal.")],
    reason: Annotated[str, typer.Argument(help="For the audit.")],
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Set how far below zero an account may go; never below what it already uses."""
    output = Output(as_json=as_json)

    async def work() -> AccountReceipt:
        async with find_deployment(state, identity).client() as client:
            found = await client.get_account(account_name(account))
            return await client.set_overdraft_limit(
                found.id, amount(limit, found.currency), reason, idempotency_key=key
            )

    receipt = run(output, work)
    output.show(account_table(receipt.account), receipt)


@app.command(epilog="Example: paycore account link 7041 stripe:cus_42")
def link(
    account: Annotated[int, typer.Argument(help="Id of the account.")],
    name: Annotated[str, typer.Argument(metavar="SCHEME:VALUE", help="Such as stripe:cus_42.")],
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Give an account a name of the world outside, for ever."""
    output = Output(as_json=as_json)

    async def work() -> AccountReceipt:
        async with find_deployment(state, identity).client() as client:
            return await client.link_identifier(account, identifier(name), idempotency_key=key)

    receipt = run(output, work)
    output.show(account_table(receipt.account), receipt)


@app.command(epilog="Example: paycore account resolve stripe:cus_42")
def resolve(
    name: Annotated[str, typer.Argument(metavar="SCHEME:VALUE", help="Such as stripe:cus_42.")],
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Tell which account has a name of the world outside."""
    output = Output(as_json=as_json)

    async def work() -> int:
        async with find_deployment(state, identity).client() as client:
            return await client.resolve_identifier(identifier(name))

    found = run(output, work)
    output.show(f"account [bold]{found}[/]", {"account": str(found)})


def amount(text: str, currency: str) -> int:
    """`parse_amount` whose complaint is about the command line."""
    try:
        return parse_amount(text, currency)
    except ValueError as error:
        raise UsageError(str(error)) from None

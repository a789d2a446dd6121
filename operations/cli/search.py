"""`paycore search`: transfers by what is said of them, newest first."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer
from rich.console import Group

from operations.cli import options
from operations.cli.history import MAX_PAGE, utc
from operations.cli.output import Output, run
from operations.deployment import find_deployment
from operations.views.found import found_table, total_line
from operations.views.history import freshness_line
from paycore.client import SearchFilter, SearchPage, Transfer, TransferKind


def search(
    text: Annotated[
        str, typer.Argument(help="Words of the description or reference; of the last, a beginning.")
    ] = "",
    meta: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Only with this in its metadata; repeatable."),
    ] = None,
    account: Annotated[int | None, typer.Option(help="Only of this account.")] = None,
    counterparty: Annotated[
        int | None, typer.Option(help="Only with this one; beside --account.")
    ] = None,
    kind: Annotated[
        list[TransferKind] | None,
        typer.Option(case_sensitive=False, help="Only this kind; repeat for several."),
    ] = None,
    currency: Annotated[str, typer.Option(help="Only in this currency.")] = "",
    least: Annotated[int | None, typer.Option("--min", help="From so many minor units on.")] = None,
    most: Annotated[int | None, typer.Option("--max", help="Up to so many minor units.")] = None,
    since: Annotated[datetime | None, typer.Option(help="From this time on, UTC.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Before this time, UTC.")] = None,
    declines: Annotated[bool, typer.Option("--declines", help="Declined payments too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 20,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Find transfers among all that the caller may see."""
    output = Output(as_json=as_json)
    wanted = SearchFilter(
        text=text,
        metadata=dict(map(_pair, meta or ())),
        account=account,
        counterparty=counterparty,
        start=utc(since),
        end=utc(until),
        kinds=tuple(kind or ()),
        currency=currency,
        min_amount=least,
        max_amount=most,
        include_declines=declines,
    )

    async def work() -> tuple[list[Transfer], SearchPage]:
        async with find_deployment(state, identity).client() as client:
            found: list[Transfer] = []
            token = ""
            while True:
                page = await client.search_transfers_page(
                    wanted,
                    page_size=min(limit - len(found), MAX_PAGE),
                    page_token=token,
                    include_total=True,
                )
                found += page.transfers
                token = page.next_page_token
                if not token or len(found) >= limit:
                    return found, page

    found, last = run(output, work)
    output.show(
        Group(
            found_table(found), total_line(len(found), last.total), freshness_line(last.freshness)
        ),
        {"transfers": found, "total": last.total, "freshness": last.freshness},
    )


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not (key and separator):
        raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--meta")
    return key, value

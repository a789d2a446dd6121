"""`paycore history`: an account's transfers, newest first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Group

from operations.cli import options
from operations.cli.output import Output, run
from operations.deployment import find_deployment
from operations.views.history import freshness_line, history_table
from paycore.client import Transfer, TransferFilter, TransferKind, TransferPage

MAX_PAGE = 500


def history(
    account: Annotated[int, typer.Argument(help="Id of the account.")],
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 20,
    kind: Annotated[
        list[TransferKind] | None,
        typer.Option(case_sensitive=False, help="Only this kind; repeat for several."),
    ] = None,
    since: Annotated[datetime | None, typer.Option(help="From this time on, UTC.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Before this time, UTC.")] = None,
    counterparty: Annotated[int | None, typer.Option(help="Only with this account.")] = None,
    reference: Annotated[str, typer.Option(help="Only with exactly this reference.")] = "",
    declines: Annotated[
        bool, typer.Option("--declines", help="Declined payments of the account too.")
    ] = False,
    min_position: Annotated[
        str, typer.Option(help="Wait for the write with this position to be included.")
    ] = "",
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """List an account's transfers, newest first, with its balance after each."""
    output = Output(as_json=as_json)
    wanted = TransferFilter(
        account=account,
        start=utc(since),
        end=utc(until),
        kinds=tuple(kind or ()),
        counterparty=counterparty,
        reference=reference,
        include_declines=declines,
    )

    async def work() -> tuple[list[Transfer], TransferPage]:
        async with find_deployment(state, identity).client() as client:
            found: list[Transfer] = []
            token = ""
            while True:
                page = await client.list_transfers_page(
                    wanted,
                    page_size=min(limit - len(found), MAX_PAGE),
                    page_token=token,
                    min_position=min_position,
                )
                found += page.transfers
                token = page.next_page_token
                if not token or len(found) >= limit:
                    return found, page

    found, last = run(output, work)
    more = bool(last.next_page_token)
    output.show(
        Group(history_table(account, found), freshness_line(last.freshness, more=more)),
        {"transfers": found, "more": more, "freshness": last.freshness},
    )


def utc(moment: datetime | None) -> datetime | None:
    """A time of the command line, in UTC where it has no zone."""
    return None if moment is None else moment.replace(tzinfo=moment.tzinfo or UTC)

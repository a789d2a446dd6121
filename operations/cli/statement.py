"""`paycore statement`: an account's entries between two balances, for people or as CSV."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.console import Group

from operations.cli import options
from operations.cli.output import Output, run
from operations.deployment import find_deployment
from operations.errors import UsageError
from operations.statement_csv import StatementCsv
from operations.views.history import freshness_line
from operations.views.statement import statement_table
from paycore.client import StatementFilter, StatementPage
from paycore.client.asynchronous import PaycoreClient

PAGE = 1_000
STANDARD_OUTPUT = "-"


def statement(
    account: Annotated[int, typer.Argument(help="Id of the account.")],
    start: Annotated[
        datetime | None,
        typer.Option(
            "--from", help="From this time on, UTC.", show_default="the first of this month"
        ),
    ] = None,
    end: Annotated[
        datetime | None, typer.Option("--to", help="Before this time, UTC.", show_default="now")
    ] = None,
    holds: Annotated[
        bool, typer.Option("--holds", help="Holds and releases too, which move nothing.")
    ] = False,
    csv: Annotated[
        str | None,
        typer.Option("--csv", metavar="FILE", help="Write CSV to this file, or - to the output."),
    ] = None,
    min_position: Annotated[
        str, typer.Option(help="Wait for the write with this position to be included.")
    ] = "",
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Show an account's entries, oldest first, between its balances before and after them."""
    output = Output(as_json=as_json)
    now = datetime.now(UTC)
    wanted = StatementFilter(
        account=account,
        start=_utc(start) or now.replace(day=1, hour=0, minute=0, second=0, microsecond=0),
        end=_utc(end) or now,
        include_holds=holds,
    )

    async def read() -> list[StatementPage]:
        async with find_deployment(state, identity).client() as client:
            pages = client.get_statement(wanted, page_size=PAGE, min_position=min_position)
            return [page async for page in pages]

    async def write() -> tuple[int, StatementPage]:
        async with find_deployment(state, identity).client() as client:
            return await _write(client, wanted, min_position, csv or STANDARD_OUTPUT)

    if csv is None:
        pages = run(output, read)
        output.show(
            Group(statement_table(pages), freshness_line(pages[-1].freshness)),
            {
                "account": pages[0].account,
                "opening": pages[0].opening,
                "entries": [entry for page in pages for entry in page.entries],
                "closing": pages[-1].closing,
                "freshness": pages[-1].freshness,
            },
        )
        return
    if as_json:
        output.fail(UsageError("--csv and --json exclude each other"))
    entries, last = run(output, write)
    if csv != STANDARD_OUTPUT:
        output.show(f"{entries:,} entries to {csv}", last)


async def _write(
    client: PaycoreClient, wanted: StatementFilter, min_position: str, place: str
) -> tuple[int, StatementPage]:
    """Write page by page; a file is there only once it is whole."""
    if place == STANDARD_OUTPUT:
        return await _write_to(sys.stdout, client, wanted, min_position)
    target = Path(place)
    unfinished = target.with_name(f"{target.name}.part")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            written = await _write_to(file, client, wanted, min_position)
        unfinished.replace(target)
    except OSError as error:
        raise UsageError(f"{place} cannot be written: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return written


async def _write_to(
    file: TextIO, client: PaycoreClient, wanted: StatementFilter, min_position: str
) -> tuple[int, StatementPage]:
    table, entries, last = StatementCsv(file), 0, None
    async for page in client.get_statement(wanted, page_size=PAGE, min_position=min_position):
        if last is None:
            table.opening(wanted.start, page)
        table.entries(page)
        entries += len(page.entries)
        last = page
    assert last is not None, "a statement has a page"
    table.closing(wanted.end, last)
    return entries, last


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=moment.tzinfo or UTC)

"""`paycore index`: what the search index consists of, its rebuilding and its check."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from operations.cli import options
from operations.cli.output import EXIT_FAILED, EXIT_UNAVAILABLE, Output, run
from operations.deployment import find_deployment
from operations.projection import INDEX, GenerationView, RequestView, open_desk
from operations.views.as_is import as_is
from operations.views.progress import progress_bar

OPERATOR = "operator"
EQUAL = "equal"

index = typer.Typer(help="Look after the search index.", no_args_is_help=True)

Reason = Annotated[str, typer.Option(help="Why, 1 to 256 characters; kept with the request.")]
Wait = Annotated[
    float,
    typer.Option(
        "--wait-s", min=0, help="Wait so long for the projector to end it; 0 does not wait."
    ),
]


@index.command("show", epilog="Example: paycore index show --json")
def show(
    state: options.State = None,
    identity: options.Identity = OPERATOR,
    as_json: options.AsJson = False,
) -> None:
    """Show the generations of the index, how far a build is, and what was asked for last."""
    output = Output(as_json=as_json)

    async def work() -> tuple[list[GenerationView], list[RequestView]]:
        async with open_desk(find_deployment(state, identity)) as desk:
            return await desk.generations(), await desk.requests(INDEX, 10)

    generations, requests = run(output, work)
    output.show(_table(generations), {"generations": generations, "requests": requests})


@index.command("rebuild", epilog="Example: paycore index rebuild --reason 'new analyzer'")
def rebuild(
    reason: Reason = "asked for on the command line",
    wait_s: Wait = 86_400.0,
    state: options.State = None,
    identity: options.Identity = OPERATOR,
    as_json: options.AsJson = False,
) -> None:
    """Fill a fresh index from the ledger, and let it take the place of the present one.

    Reads and payments go on. What is interrupted goes on by itself where it was. The fresh index is
    held against the ledger before it serves; where they differ it is given up, which ends with 1.
    """
    _ask("REBUILD", reason, wait_s, "rebuilding the index", state, identity, as_json=as_json)


@index.command("check", epilog="Example: paycore index check --repair")
def check(
    repair: Annotated[
        bool, typer.Option("--repair", help="Write what is missing or different, delete the rest.")
    ] = False,
    reason: Reason = "asked for on the command line",
    wait_s: Wait = 3_600.0,
    state: options.State = None,
    identity: options.Identity = OPERATOR,
    as_json: options.AsJson = False,
) -> None:
    """Hold the index against the ledger: counts and exact sums by day, then what differs.

    Ends with 1 where they differed, whether that was repaired or not.
    """
    action = "REPAIR" if repair else "CHECK"
    _ask(action, reason, wait_s, "checking the index", state, identity, as_json=as_json)


def _ask(
    action: str,
    reason: str,
    wait_s: float,
    words: str,
    state: options.State,
    identity: str,
    *,
    as_json: bool,
) -> None:
    output = Output(as_json=as_json)
    with progress_bar(words) as progress:

        async def work() -> RequestView:
            async with open_desk(find_deployment(state, identity)) as desk:
                asked = await desk.ask(action, reason)
                return await desk.outcome(asked, wait_s, progress)

        request = run(output, work)
    show_outcome(output, request, wait_s)
    if request.ended_at is not None and EQUAL not in (request.outcome or ""):
        raise typer.Exit(EXIT_FAILED)


def show_outcome(output: Output, request: RequestView, wait_s: float) -> None:
    """Print what came of a request; ends with 3 where nothing did in time."""
    if request.ended_at is not None:
        output.show(as_is(request.outcome or ""), request)
        return
    output.show(f"request {request.id} is not done yet: see `paycore index show`", request)
    if wait_s > 0:
        raise typer.Exit(EXIT_UNAVAILABLE)


def _table(generations: list[GenerationView]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("generation", "state", "epoch", "months", "why", "progress"):
        table.add_column(name)
    for one in generations:
        building = f"{one.phase}: {one.documents:,} of about {one.expected:,}"
        months = f"{one.months[0]} - {one.months[-1]}" if one.months else ""
        table.add_row(
            str(one.generation),
            one.state,
            str(one.epoch),
            months,
            as_is(one.reason),
            building if one.state == "BUILDING" else "",
        )
    return table

"""`paycore dead-letters`: what a sink refused for good."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from operations.cli import options
from operations.cli.index import OPERATOR, Wait, show_outcome
from operations.cli.output import EXIT_FAILED, Output, run
from operations.deployment import find_deployment
from operations.errors import UsageError
from operations.projection import INDEX, Letters, RequestView, open_desk
from operations.views.as_is import as_is

FAILED = "failed"
"""How the outcome begins of what could not be done."""

letters = typer.Typer(
    help="Look at what a sink refused for good, and have it taken again.", no_args_is_help=True
)

Sink = Annotated[str, typer.Option(help="Which sink's.")]
Kind = Annotated[str | None, typer.Option(help="Only of this kind, as transfers or accounts.")]
Id = Annotated[int, typer.Argument(metavar="ID", help="Of the transfer, decline or account.")]
SomeId = Annotated[int | None, typer.Argument(metavar="[ID]", help="Only this one.")]
All = Annotated[bool, typer.Option("--all", help="All of the sink, or of the kind.")]
Reason = Annotated[str, typer.Option(help="Why, 1 to 256 characters; kept with the request.")]


@letters.command("list", epilog="Example: paycore dead-letters list --kind transfers")
def list_letters(
    sink: Sink = INDEX,
    kind: Kind = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Show at most so many.")] = 50,
    after: Annotated[int | None, typer.Option(help="Go on after this id.")] = None,
    state: options.State = None,
    identity: options.Identity = OPERATOR,
    as_json: options.AsJson = False,
) -> None:
    """List them by id, with the reason and how often they were refused."""
    output = Output(as_json=as_json)

    async def work() -> Letters:
        async with open_desk(find_deployment(state, identity)) as desk:
            return await desk.letters(sink, kind, after, limit)

    found = run(output, work)
    output.show(_table(found) if found.letters else "there are none", found)


@letters.command("show", epilog="Example: paycore dead-letters show 9001")
def show(
    document_id: Id,
    sink: Sink = INDEX,
    state: options.State = None,
    identity: options.Identity = OPERATOR,
    as_json: options.AsJson = False,
) -> None:
    """Show one. The content is in the ledger: `paycore transfer show`."""
    output = Output(as_json=as_json)

    async def work() -> Letters:
        async with open_desk(find_deployment(state, identity)) as desk:
            found = await desk.letter(sink, document_id)
        if not found.letters:
            raise UsageError(f"sink {sink} has no dead letter of {document_id}")
        return found

    found = run(output, work)
    output.show(_table(found), found)


@letters.command("replay", epilog="Example: paycore dead-letters replay 9001 --reason mended")
def replay(
    document_id: SomeId = None,
    everything: All = False,
    sink: Sink = INDEX,
    kind: Kind = None,
    reason: Reason = "asked for on the command line",
    wait_s: Wait = 60.0,
    state: options.State = None,
    identity: options.Identity = OPERATOR,
    as_json: options.AsJson = False,
) -> None:
    """Have the projector take one, or --all, again as they stand now.

    What it takes is a dead letter no longer; what it refuses again stays one.
    """
    _ask("REPLAY", document_id, everything, sink, kind, reason, wait_s, state, identity, as_json)


@letters.command("discard", epilog="Example: paycore dead-letters discard 9001 --reason 'a test'")
def discard(
    document_id: SomeId = None,
    everything: All = False,
    sink: Sink = INDEX,
    kind: Kind = None,
    reason: Reason = "asked for on the command line",
    wait_s: Wait = 60.0,
    state: options.State = None,
    identity: options.Identity = OPERATOR,
    as_json: options.AsJson = False,
) -> None:
    """Forget one, or --all: the document stays missing in the index until a check repairs it."""
    _ask("DISCARD", document_id, everything, sink, kind, reason, wait_s, state, identity, as_json)


def _ask(
    action: str,
    document_id: int | None,
    everything: bool,
    sink: str,
    kind: str | None,
    reason: str,
    wait_s: float,
    state: options.State,
    identity: str,
    as_json: bool,
) -> None:
    output = Output(as_json=as_json)

    async def work() -> RequestView:
        if (document_id is None) is not everything:
            raise UsageError("name one by its id, or say --all")
        async with open_desk(find_deployment(state, identity)) as desk:
            asked = await desk.ask(action, reason, sink, kind, document_id)
            return await desk.outcome(asked, wait_s, lambda done, total: None)

    request = run(output, work)
    show_outcome(output, request, wait_s)
    if (request.outcome or "").startswith(FAILED):
        raise typer.Exit(EXIT_FAILED)


def _table(found: Letters) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("kind", "id", "version", "why", "refused", "last"):
        table.add_column(name, overflow="fold")
    for one in found.letters:
        table.add_row(
            one.kind,
            str(one.document_id),
            str(one.version),
            as_is(f"{one.error_type}: {one.reason}"),
            f"{one.failures} times",
            f"{one.last_failed_at:%Y-%m-%d %H:%M:%S}",
        )
    return table

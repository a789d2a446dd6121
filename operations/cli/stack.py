"""`paycore up` and `paycore status`: the local stack."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.table import Table

from deploy.local import __main__ as local
from operations.cli import options
from operations.cli.output import EXIT_FAILED, HANDLED, Output, run
from operations.deployment import find_deployment
from operations.errors import UsageError
from operations.health import PartHealth, System, examine
from operations.views.as_is import as_is, in_markup


def up(
    processes: Annotated[
        int, typer.Option(min=1, max=64, help="Processes of the command service, on one port.")
    ] = 2,
    replica: Annotated[
        bool,
        typer.Option("--replica", help="A replica of PostgreSQL too, from which queries read."),
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once all is ready and leave it running.")
    ] = False,
    state: options.State = None,
    as_json: options.AsJson = False,
) -> None:
    """Start PostgreSQL, Redis, Elasticsearch and the four services here, until Ctrl-C.

    The first start fetches what it needs; later ones take seconds and find the data as it was left.
    `python -m deploy.local --help` has more ways, such as running some parts only.
    """
    output = Output(as_json=as_json)
    if not as_json:
        local.up(state=state, processes=processes, only=None, replica=replica, detach=detach)
        return
    if not detach:
        output.fail(UsageError("--json goes with --detach: otherwise the stack stays in front"))
    with redirect_stdout(sys.stderr):
        local.up(state=state, processes=processes, only=None, replica=replica, detach=True)
    try:
        deployment = find_deployment(state)
    except HANDLED as error:
        output.fail(error)
    output.show("", {"state": str(deployment.state), "targets": deployment.targets})


def status(
    state: options.State = None,
    identity: options.Identity = "operator",
    as_json: options.AsJson = False,
) -> None:
    """Ask every part how it is. Ends with 1 when one is down."""
    output = Output(as_json=as_json)
    system = run(output, lambda: examine(find_deployment(state, identity)))
    output.show(Group(_table(system.parts), *_lines(system, state)), system)
    if not system.healthy:
        raise typer.Exit(EXIT_FAILED)


def _table(parts: tuple[PartHealth, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("part")
    table.add_column("health", no_wrap=True)
    table.add_column("address", no_wrap=True)
    table.add_column("answered in", justify="right")
    table.add_column("restarts", justify="right")
    table.add_column("", overflow="fold")
    for part in parts:
        table.add_row(
            part.name,
            "[green]up[/]" if part.up else "[bold red]down[/]",
            part.address,
            f"{part.answered_in_ms:.0f} ms" if part.up else "",
            "" if part.restarts is None else str(part.restarts),
            as_is(part.problem or "", "red"),
        )
    return table


def _lines(system: System, state: Path | None) -> list[str]:
    lines = []
    if system.projection_lag_s is not None:
        lines.append(f"the index is {system.projection_lag_s * 1000:,.0f} ms behind the ledger")
    elif system.projection_problem:
        why = in_markup(system.projection_problem)
        lines.append(f"[red]how far the index is behind is unknown: {why}[/]")
    if system.state is not None:
        lines.append(f"[dim]state folder {system.state}[/]")
    return lines

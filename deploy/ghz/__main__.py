"""`python -m deploy.ghz`: every method of a running stack under the load of ghz."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import grpc
import typer
from rich.console import Console
from rich.table import Table

from deploy.ghz.configurations import Configuration, configurations
from deploy.ghz.preparation import UnreviewedError, preparation
from deploy.ghz.program import GhzError, find_ghz, run_ghz
from deploy.ghz.ready import make_ready
from deploy.local import Endpoints, default_state, load_stack

EXIT_FAILED = 1
DESCRIPTORS = Path(".build") / "paycore.binpb"
WIDTH = 110
"""Characters, where the output is a file."""

READY = Path(".build") / "ghz"

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
console = Console(width=None if sys.stdout.isatty() else WIDTH)


@app.command()
def ghz(
    names: Annotated[
        list[str] | None, typer.Argument(help="Of configurations; all where none is named.")
    ] = None,
    state: Annotated[Path | None, typer.Option(help="Folder of the stack that runs.")] = None,
    calls: Annotated[
        int | None, typer.Option(min=1, help="Calls of each; else as in its file.")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Only write what is ready to run, and say how.")
    ] = False,
) -> None:
    """Run the configurations against a local stack that runs (`make up`), one after the other.

    What they speak of is made first: accounts with money, holds, payments, a subscription. They
    set limits, grants and rules too, of names and currencies that they should have for
    themselves: not for a ledger that anybody uses.
    """
    every = configurations()
    unknown = set(names or ()) - {one.name for one in every}
    if unknown:
        raise typer.BadParameter(f"no such configuration: {', '.join(sorted(unknown))}")
    chosen = [one for one in every if not names or one.name in names]
    program = find_ghz()
    if program is None and not write:
        console.print("ghz is not installed: see deploy/ghz/README.md", style="red")
        raise typer.Exit(EXIT_FAILED)
    if not DESCRIPTORS.exists():
        console.print(f"{DESCRIPTORS} is missing: see deploy/ghz/README.md", style="red")
        raise typer.Exit(EXIT_FAILED)
    endpoints = load_stack(state or default_state())
    READY.mkdir(parents=True, exist_ok=True)
    try:
        failed = asyncio.run(_run(chosen, endpoints, calls, None if write else program))
    except grpc.RpcError as error:
        console.print(f"the stack refuses what is made ready: {error!r}", markup=False)
        raise typer.Exit(EXIT_FAILED) from None
    if failed:
        console.print(f"not every call succeeded: {', '.join(failed)}", style="red")
        raise typer.Exit(EXIT_FAILED)


async def _run(
    chosen: list[Configuration], endpoints: Endpoints, calls: int | None, program: Path | None
) -> list[str]:
    """Names of those of which not every call succeeded; without `program` nothing is run."""
    failed = []
    table = Table(pad_edge=False)
    table.add_column("method", no_wrap=True)
    for head in ("calls", "good", "calls/s", "p50 ms", "p99 ms"):
        table.add_column(head, justify="right")
    async with preparation(endpoints) as prepared:
        for one in chosen:
            total = calls or one.total
            try:
                path = await make_ready(one, prepared, endpoints, DESCRIPTORS, READY, total)
            except UnreviewedError:
                console.print(
                    f"{one.name}: left out, for this stack judges no payments"
                    " (PAYCORE_COMMAND_RISK=rules make up)"
                )
                continue
            target = endpoints.target(one.server)
            if program is None:
                console.print(f"ghz --config {path} {target}", soft_wrap=True)
                continue
            try:
                outcome = await run_ghz(program, f"--config={path}", target)
            except (GhzError, TimeoutError) as error:
                console.print(f"{one.name}: {error!r}", markup=False)
                failed.append(one.name)
                continue
            good = outcome.codes.get(one.success, 0)
            if outcome.codes != {one.success: total}:
                failed.append(one.name)
                for text, times in outcome.errors.items():
                    console.print(f"{one.name}: {times} x {text}", markup=False)
            table.add_row(
                one.method.removeprefix("paycore.v1."),
                f"{outcome.calls:,}",
                f"{good:,}",
                f"{outcome.rate:,.0f}",
                *(f"{outcome.latencies_ms.get(at, 0.0):,.1f}" for at in (50, 99)),
            )
    if program is not None:
        console.print(table)
    return failed


if __name__ == "__main__":
    app()

"""`paycore demo`: watch payments take the whole path."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deploy.local import LocalStack, StackSettings, default_state
from deploy.local.display import TerminalObserver
from deploy.local.record import Phase, read_record
from deploy.local.state import StateFolder
from operations.cli import options
from operations.cli.output import EXIT_FAILED, HANDLED, Output, run
from operations.demo.accounts import FILE
from operations.demo.run import Demo, Plan
from operations.deployment import DeploymentSettings, find_deployment

COMMAND_PROCESSES = 2


def demo(
    accounts: Annotated[
        int, typer.Option(min=10, max=100_000, help="Accounts to open, from the file.")
    ] = 1_000,
    transfers: Annotated[
        int, typer.Option(min=10, max=10_000_000, help="Random transfers to send.")
    ] = 20_000,
    file: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="CSV file of accounts, in the form of the default one.",
            show_default="operations/demo/accounts.csv",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of the random transfers.", show_default="a new one")
    ] = None,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Open 1,000 accounts, send 20,000 random transfers, show what callers see, verify all of it.

    Uses the stack that runs in the state folder; where none runs, starts one and stops it at the
    end. May be repeated on the same data. Ends with 0 only if everything shown held.
    """
    output = Output(as_json=as_json)
    # The story goes to standard error when standard output is for programs.
    console = Console(stderr=as_json, highlight=False)
    plan = Plan(
        accounts=accounts,
        transfers=transfers,
        seed=secrets.randbits(32) if seed is None else seed,
        file=file or FILE,
    )
    try:
        with _running_stack(console, state or default_state()):
            deployment = find_deployment(state, identity)
            performance = Demo(deployment, console, plan)
            held = run(output, performance.perform)
    except HANDLED as error:
        output.fail(error)
    if as_json:
        output.show("", {"held": held, "acts": performance.acts})
    if not held:
        raise typer.Exit(EXIT_FAILED)


@contextmanager
def _running_stack(console: Console, state: Path) -> Iterator[None]:
    """A stack for the time of the demo: the one that runs already, or one of its own.

    Raises StackError when it cannot be started.
    """
    record = read_record(StateFolder(state).stack_file)
    running = record.is_run_by_a_living_process() and record.phase is Phase.READY
    if running or DeploymentSettings().command_target is not None:
        yield
        return
    # Ended from outside it stops its stack too, as by Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    observer = TerminalObserver(console)
    stack = LocalStack(
        state, processes=COMMAND_PROCESSES, settings=StackSettings(), observer=observer
    )
    console.print(f"[bold]starting the local stack[/] [dim]in {state}[/]")
    with observer:
        stack.start()
    try:
        yield
    finally:
        console.print("\n[dim]stopping the local stack[/]")
        with observer:
            stack.stop()

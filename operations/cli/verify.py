"""`paycore verify`: prove that the ledger is whole."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from operations.cli import options
from operations.cli.output import EXIT_FAILED, Output, run
from operations.deployment import find_deployment
from operations.errors import UsageError
from operations.verify.deployed import verify_deployment
from operations.verify.scope import After, Last, Since
from operations.views.progress import progress_bar
from operations.views.verification import report_text
from paycore.domain.position import Position


def verify(
    wait_s: Annotated[
        float,
        typer.Option("--wait", min=0, max=3600, help="Seconds to wait for the index to catch up."),
    ] = 60.0,
    with_index: Annotated[
        bool, typer.Option("--index/--no-index", help="Compare the index with the ledger too.")
    ] = True,
    since_last: Annotated[
        bool,
        typer.Option(
            "--since-last",
            help="Only what was written since the last verification, and what that touches. "
            "Does not prove that what was verified before is still as it was.",
        ),
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="POSITION",
            help="Only what was written after this position, as replies and --json give it; "
            "for what is before it you vouch, and the run is not recorded.",
        ),
    ] = None,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Recompute every account from its transfers and hold all tables, and the index, against it.

    Reads the whole ledger in one snapshot while payments go on. Ends with 1 when any rule is
    broken, and shows the first breach with its ids.

    With --since-last or --since it reads new rows, their accounts' entries just before them and the
    transfers that they follow, and of the rest only the sums: a row that somebody edited since it
    was verified is found by a run without these options.
    """
    output = Output(as_json=as_json)
    try:
        begin = _since(since_last=since_last, position=since)
    except UsageError as error:
        output.fail(error)
    began = time.monotonic()
    with progress_bar("verifying") as progress:
        report = run(
            output,
            lambda: verify_deployment(
                find_deployment(state, identity),
                wait_s=wait_s,
                with_index=with_index,
                since=begin,
                progress=progress,
            ),
        )
    took_s = time.monotonic() - began
    output.show(
        report_text(report, took_s),
        {"held": report.held, "position": report.position.encode(), "report": report},
    )
    if not report.held:
        raise typer.Exit(EXIT_FAILED)


def _since(*, since_last: bool, position: str | None) -> Since:
    if position is None:
        return Last() if since_last else None
    if since_last:
        raise UsageError("--since-last and --since exclude each other")
    try:
        return After(Position.decode(position))
    except ValueError as error:
        raise UsageError(f"--since: {error}") from error

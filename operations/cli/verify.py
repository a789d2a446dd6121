"""`paycore verify`: prove that the ledger is whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from operations.cli import options
from operations.cli.output import EXIT_FAILED, Output, run
from operations.deployment import Deployment, find_deployment
from operations.errors import UsageError
from operations.verify.chain_rules import Head
from operations.verify.deployed import verify_deployed_chain, verify_deployment
from operations.verify.report import Check
from operations.verify.scope import After, Last, Since
from operations.verify.textfile import Examined, check_folder, write_result
from operations.views.progress import progress_bar
from operations.views.verification import chain_text, report_text
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
    chain: Annotated[
        bool,
        typer.Option(
            "--chain",
            help="Follow the chain of seals instead: that nothing which was sealed was changed.",
        ),
    ] = False,
    start: Annotated[
        int,
        typer.Option(
            "--from",
            metavar="NUMBER",
            min=1,
            help="Of the chain, only from this seal on; give the one before it as --head.",
        ),
    ] = 1,
    head: Annotated[
        str | None,
        typer.Option(
            "--head",
            metavar="HASH:NUMBER",
            help="A seal of the chain that was noted outside, as each run with --chain prints it.",
        ),
    ] = None,
    metrics: Annotated[
        Path | None,
        typer.Option(
            "--metrics",
            metavar="FOLDER",
            help="Also write the result there, for Prometheus' textfile collector.",
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

    With --chain it recomputes the seals from the tables, and says which seal or row was edited,
    removed, added or moved; with --head it finds that the chain's end was cut off or made anew.
    """
    output = Output(as_json=as_json)
    try:
        begin = _since(since_last=since_last, position=since)
        if metrics is not None:
            check_folder(metrics)
        noted = _head(chain=chain, start=start, head=head, whole=begin is None)
    except UsageError as error:
        output.fail(error)
    began = time.monotonic()
    if chain:
        _follow(
            output,
            find=lambda: find_deployment(state, identity),
            start=start,
            head=noted,
            metrics=metrics,
        )
        return
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
    _tell(metrics, _examined(begin), report.checks, took_s)
    if not report.held:
        raise typer.Exit(EXIT_FAILED)


def _follow(
    output: Output,
    *,
    find: Callable[[], Deployment],
    start: int,
    head: Head | None,
    metrics: Path | None,
) -> None:
    began = time.monotonic()
    with progress_bar("following the chain") as progress:
        report = run(
            output,
            lambda: verify_deployed_chain(find(), start=start, head=head, progress=progress),
        )
    took_s = time.monotonic() - began
    end = None if report.head is None else str(report.head)
    output.show(
        chain_text(report, took_s),
        {
            "held": report.held,
            "head": end,
            "epoch": report.epoch,
            "unsealed": report.unsealed_rows,
            "checks": list(report.checks),
        },
    )
    _tell(metrics, Examined.CHAIN, report.checks, took_s)
    if not report.held:
        raise typer.Exit(EXIT_FAILED)


def _examined(since: Since) -> Examined:
    match since:
        case None:
            return Examined.WHOLE
        case Last():
            return Examined.SINCE_LAST
        case After():
            return Examined.SINCE_POSITION


def _tell(folder: Path | None, examined: Examined, checks: Sequence[Check], took_s: float) -> None:
    """After the report was shown: a disk that is full must not keep it back."""
    if folder is not None:
        write_result(folder, examined, checks, ended_s=time.time(), took_s=took_s)


def _head(*, chain: bool, start: int, head: str | None, whole: bool) -> Head | None:
    if not chain and (head is not None or start != 1):
        raise UsageError("--from and --head go with --chain")
    if chain and not whole:
        raise UsageError("--chain begins at a seal: use --from instead of --since")
    try:
        return None if head is None else Head.parse(head)
    except ValueError as error:
        raise UsageError(f"--head: {error}") from error


def _since(*, since_last: bool, position: str | None) -> Since:
    if position is None:
        return Last() if since_last else None
    if since_last:
        raise UsageError("--since-last and --since exclude each other")
    try:
        return After(Position.decode(position))
    except ValueError as error:
        raise UsageError(f"--since: {error}") from error

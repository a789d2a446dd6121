"""`paycore verify`: prove that the ledger is whole."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from operations.cli import options
from operations.cli.output import EXIT_FAILED, Output, run
from operations.deployment import find_deployment
from operations.verify.deployed import verify_deployment
from operations.views.verification import report_text


def verify(
    wait_s: Annotated[
        float,
        typer.Option("--wait", min=0, max=3600, help="Seconds to wait for the index to catch up."),
    ] = 60.0,
    with_index: Annotated[
        bool, typer.Option("--index/--no-index", help="Compare the index with the ledger too.")
    ] = True,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Recompute every account from its transfers and hold all tables, and the index, against it.

    Reads the whole ledger in one snapshot while payments go on. Ends with 1 when any rule is
    broken, and shows the first breach with its ids.
    """
    output = Output(as_json=as_json)
    began = time.monotonic()
    report = run(
        output,
        lambda: verify_deployment(
            find_deployment(state, identity), wait_s=wait_s, with_index=with_index
        ),
    )
    took_s = time.monotonic() - began
    output.show(report_text(report, took_s), {"held": report.held, "report": report})
    if not report.held:
        raise typer.Exit(EXIT_FAILED)

"""`paycore watch`: an account's transfers as they happen."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Annotated

import typer

from operations.cli import options
from operations.cli.output import Output, run
from operations.deployment import find_deployment
from operations.views.history import history_line


def watch(
    account: Annotated[int, typer.Argument(help="Id of the account.")],
    start: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="TOKEN",
            help="Go on from a resume token, or from a position of a reply.",
            show_default="now",
        ),
    ] = "",
    declines: Annotated[
        bool, typer.Option("--declines", help="Declined payments of the account too.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="End after so many.", show_default="never")
    ] = None,
    within: Annotated[
        float | None,
        typer.Option(min=0, help="End after so many seconds.", show_default="never"),
    ] = None,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Print an account's transfers as they are posted, until Ctrl-C.

    With --json a line is an object with the transfer and the resume token to go on from after it.
    """
    output = Output(as_json=as_json)

    async def work() -> None:
        async with (
            find_deployment(state, identity).client() as client,
            aclosing(
                client.watch_transfers(account, start=start, include_declines=declines)
            ) as watching,
        ):
            seen = 0
            try:
                async with asyncio.timeout(within):
                    async for transfer in watching:
                        output.line(
                            history_line(account, transfer),
                            {"transfer": transfer, "resume_token": watching.resume_token},
                        )
                        seen += 1
                        if seen == limit:
                            return
            except TimeoutError:
                return

    try:
        run(output, work)
    except KeyboardInterrupt:
        return

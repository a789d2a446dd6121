"""`paycore stream`: the stream of events in Redis."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Annotated

import typer
from rich.text import Text

from operations.cli import options
from operations.cli.output import Output, run
from operations.deployment import find_deployment
from operations.errors import UnavailableError, UsageError
from operations.money import format_money
from operations.views.as_is import as_is
from paycore.client.stream import EARLIEST, LATEST, TransferStream
from paycore.client.stream_errors import StreamUnknownError, StreamUnreachableError
from paycore.client.stream_events import StreamEvent
from paycore.domain.stream import EntryId

app = typer.Typer(help="The stream of events, for consumers that recompute.", no_args_is_help=True)


@app.command(epilog="Examples: paycore stream tail  |  paycore stream tail --from earliest --json")
def tail(
    start: Annotated[
        str,
        typer.Option(
            "--from", metavar="ENTRY", help="earliest, latest, or the entry to go on after."
        ),
    ] = LATEST,
    limit: Annotated[
        int | None, typer.Option(min=1, help="End after so many.", show_default="never")
    ] = None,
    within: Annotated[
        float | None,
        typer.Option(min=0, help="End after so many seconds.", show_default="never"),
    ] = None,
    state: options.State = None,
    as_json: options.AsJson = False,
) -> None:
    """Print events as they are projected, until Ctrl-C, for all accounts.

    Reads by itself: no group of consumers loses anything to it. With --json a line is an event.
    """
    output = Output(as_json=as_json)
    if start not in (EARLIEST, LATEST):
        try:
            EntryId.parse(start)
        except ValueError as error:
            output.fail(UsageError(f"--from: {error}"))
    try:
        run(output, lambda: _tail(output, state, start, limit, within))
    except KeyboardInterrupt:
        return


async def _tail(
    output: Output, state: options.State, start: str, limit: int | None, within: float | None
) -> None:
    deployment = find_deployment(state)
    if deployment.stream_url is None:
        raise UsageError("the stream is read from Redis: set PAYCORE_STREAM_URL")
    seen = 0
    try:
        async with (
            asyncio.timeout(within),
            await TransferStream.open(
                deployment.stream_url, prefix=deployment.stream_prefix
            ) as stream,
            aclosing(stream.follow(start)) as events,
        ):
            async for event in events:
                output.line(_line(event), event)
                seen += 1
                if seen == limit:
                    return
    except TimeoutError:
        return
    except (StreamUnreachableError, StreamUnknownError) as error:
        raise UnavailableError(f"the stream cannot be read: {error}") from error


def _line(event: StreamEvent) -> Text:
    what = event.reason if event.declined else event.state.value
    return as_is(
        f"{event.entry}  {event.kind.value.lower():<14} {event.id}"
        f"  {event.debit_account} > {event.credit_account}"
        f"  {format_money(event.amount, event.currency)}  {what.lower().replace('_', ' ')}"
    )

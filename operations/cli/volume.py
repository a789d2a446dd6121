"""`paycore volume`: how much moved, as a chart."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Group

from operations.cli import options
from operations.cli.output import Output, run
from operations.deployment import find_deployment
from operations.errors import UsageError
from operations.views.history import freshness_line
from operations.views.volume import volume_chart
from paycore.client import Interval, TransferKind, Volume

UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_SPAN = re.compile(r"(\d{1,5})([mhd])")


def volume(
    last: Annotated[str, typer.Option(help="How far back: 90m, 24h or 30d.")] = "1h",
    interval: Annotated[
        Interval, typer.Option(case_sensitive=False, help="Width of a bar.")
    ] = Interval.MINUTE,
    currency: Annotated[str, typer.Option(help="Only this currency; all when left out.")] = "",
    kind: Annotated[
        list[TransferKind] | None,
        typer.Option(case_sensitive=False, help="Only this kind; repeat for several."),
    ] = None,
    min_position: Annotated[
        str, typer.Option(help="Wait for the write with this position to be included.")
    ] = "",
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Chart what moved per interval, for each currency, with exact sums."""
    output = Output(as_json=as_json)

    async def work() -> Volume:
        span = parse_span(last)
        # The interval under way is wanted whole.
        end = datetime.now(UTC) + timedelta(seconds=1)
        async with find_deployment(state, identity).client() as client:
            return await client.transfer_volume(
                end - span,
                end,
                interval,
                currency=currency,
                kinds=tuple(kind or ()),
                min_position=min_position,
            )

    found = run(output, work)
    output.show(
        Group(volume_chart(found.buckets, interval), freshness_line(found.freshness)), found
    )


def parse_span(text: str) -> timedelta:
    """The time in `text`, such as 90m. Raises UsageError."""
    match = _SPAN.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise UsageError(f"{text!r} is no span of time: write it like 90m, 24h or 30d")
    return int(match[1]) * UNITS[match[2]]

"""`paycore stats`: how much, by kind, institution, account and reason; and how fresh that is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Group, RenderableType

from operations.cli import options
from operations.cli.output import Output, run
from operations.cli.volume import parse_span
from operations.deployment import find_deployment
from operations.errors import UsageError
from operations.views import statistics as views
from operations.views.history import freshness_line
from paycore.client import Interval, PaycoreClient

Last = Annotated[str, typer.Option(help="How far back: 90m, 24h or 30d; all when left out.")]
Since = Annotated[datetime | None, typer.Option(help="From this time on, UTC.")]
Until = Annotated[datetime | None, typer.Option(help="Before this time, UTC.")]
Currency = Annotated[str, typer.Option(help="Only this currency; all when left out.")]
MinPosition = Annotated[
    str, typer.Option(help="Wait for the write with this position to be included.")
]

Answer = TypeVar("Answer")
Stretch = tuple[datetime | None, datetime | None]

app = typer.Typer(help="Tell how much, exactly: sums by kind, institution, account and reason.")


@app.command(
    epilog="Examples: paycore stats kinds --last 24h  |  paycore stats kinds --account 7041"
)
def kinds(
    account: Annotated[int | None, typer.Option(help="Only what moved on this account.")] = None,
    currency: Currency = "",
    last: Last = "",
    since: Since = None,
    until: Until = None,
    min_position: MinPosition = "",
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """What moved per currency and kind."""

    async def ask(client: PaycoreClient) -> Any:
        start, end = stretch(last, since, until)
        return await client.kind_breakdown(
            start=start, end=end, account=account, currency=currency, min_position=min_position
        )

    _show(as_json, state, identity, ask, lambda found: [views.kinds_table(found)])


@app.command(
    epilog="Example: paycore stats institutions --since 2026-11-01 --until 2026-12-01 "
    "--currency EUR --as analyst"
)
def institutions(
    currency: Currency = "",
    last: Last = "",
    since: Since = None,
    until: Until = None,
    min_position: MinPosition = "",
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """What moved between institutions, and what each owes or is owed."""

    async def ask(client: PaycoreClient) -> Any:
        start, end = stretch(last, since, until)
        return await client.institution_positions(
            start=start, end=end, currency=currency, min_position=min_position
        )

    _show(
        as_json,
        state,
        identity,
        ask,
        lambda found: [views.positions_table(found), views.flows_table(found)],
    )


@app.command(epilog="Example: paycore stats activity 7041 --last 30d --interval day")
def activity(
    account: Annotated[int, typer.Argument(help="Id of the account.")],
    interval: Annotated[
        Interval, typer.Option(case_sensitive=False, help="Width of a line.")
    ] = Interval.DAY,
    last: Annotated[str, typer.Option(help="How far back: 90m, 24h or 30d.")] = "",
    since: Since = None,
    until: Until = None,
    min_position: MinPosition = "",
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """What an account received and paid per interval, and its balance after each: 30 days, where
    no time is given."""

    async def ask(client: PaycoreClient) -> Any:
        start, end = closed_stretch(last, since, until)
        return await client.account_activity(
            account, start, end, interval, min_position=min_position
        )

    _show(as_json, state, identity, ask, lambda found: [views.activity_table(found, interval)])


@app.command(epilog="Example: paycore stats declines --last 24h --interval hour --client app")
def declines(
    interval: Annotated[
        Interval | None,
        typer.Option(case_sensitive=False, help="Divide the time; 30 days, where none is given."),
    ] = None,
    account: Annotated[int | None, typer.Option(help="Only payments of this account.")] = None,
    client_name: Annotated[
        str, typer.Option("--client", help="Only what this client asked for.")
    ] = "",
    currency: Currency = "",
    last: Last = "",
    since: Since = None,
    until: Until = None,
    min_position: MinPosition = "",
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Which payments were declined, why, and how many of all."""

    async def ask(client: PaycoreClient) -> Any:
        divide = stretch if interval is None else closed_stretch
        start, end = divide(last, since, until)
        return await client.decline_statistics(
            start=start,
            end=end,
            interval=interval,
            account=account,
            client=client_name,
            currency=currency,
            min_position=min_position,
        )

    _show(as_json, state, identity, ask, lambda found: [views.declines_table(found, interval)])


@app.command(epilog="Example: paycore stats counterparties 7041 --limit 5")
def counterparties(
    account: Annotated[int, typer.Argument(help="Id of the account.")],
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many at most.")] = 10,
    last: Last = "",
    since: Since = None,
    until: Until = None,
    min_position: MinPosition = "",
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """With whom an account exchanged most."""

    async def ask(client: PaycoreClient) -> Any:
        start, end = stretch(last, since, until)
        return await client.top_counterparties(
            account, start=start, end=end, limit=limit, min_position=min_position
        )

    _show(as_json, state, identity, ask, lambda found: [views.counterparties_table(found)])


@app.command(epilog="Example: paycore stats latency")
def latency(
    min_position: MinPosition = "",
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """How far the read side is behind the ledger, and was over the last minutes."""

    async def ask(client: PaycoreClient) -> Any:
        return await client.latency_of_projection(min_position=min_position)

    _show(as_json, state, identity, ask, lambda found: [views.latency_table(found)])


def stretch(last: str, since: datetime | None, until: datetime | None) -> Stretch:
    """The time asked for, None for an open side. Raises UsageError."""
    if not last:
        return _utc(since), _utc(until)
    if since is not None:
        raise UsageError("--last and --since both say when to begin: give one of them")
    end = _utc(until) or _end_of_now()
    return end - parse_span(last), end


def closed_stretch(
    last: str, since: datetime | None, until: datetime | None
) -> tuple[datetime, datetime]:
    """The same with both sides; the last 30 days where nothing says when to begin."""
    start, end = stretch(last, since, until)
    end = end or _end_of_now()
    return start or end - timedelta(days=30), end


def _end_of_now() -> datetime:
    # What was posted this moment is wanted too.
    return datetime.now(UTC) + timedelta(seconds=1)


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=moment.tzinfo or UTC)


def _show(
    as_json: bool,
    state: options.State,
    identity: str,
    ask: Callable[[PaycoreClient], Awaitable[Answer]],
    view: Callable[[Answer], list[RenderableType]],
) -> None:
    output = Output(as_json=as_json)

    async def work() -> Answer:
        async with find_deployment(state, identity).client() as client:
            return await ask(client)

    found: Any = run(output, work)
    output.show(Group(*view(found), freshness_line(found.freshness)), found)

"""`paycore load`: how much it takes, and how long it takes."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Group
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from operations.cli import options
from operations.cli.output import EXIT_FAILED, Output, run
from operations.deployment import find_deployment
from operations.load.measure import OK, PERCENTILES, Measurement
from operations.load.orders import random_orders
from operations.load.population import Opening, fund, open_population
from operations.load.runner import LoadPlan, run_load
from paycore.client import NewAccount
from paycore.domain.errors import STORED_DECLINES

CURRENCY = "EUR"
DEPOSIT = 100_000_000
LARGEST = 500
EXPECTED = frozenset({OK, *(reason.value for reason in STORED_DECLINES)})


def load(
    seconds: Annotated[float, typer.Option(min=0.1, max=86_400, help="How long to send.")] = 10.0,
    workers: Annotated[int, typer.Option(min=1, max=2_000, help="Requests at once.")] = 32,
    batch: Annotated[
        int, typer.Option(min=1, max=1_000, help="Transfers in a request; 1 sends them one by one.")
    ] = 1,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.1, help="Transfers per second, constant.", show_default="as fast as possible"
        ),
    ] = None,
    accounts: Annotated[
        int, typer.Option(min=2, max=100_000, help="Accounts to move money between.")
    ] = 1_000,
    connections: Annotated[
        int, typer.Option(min=1, max=64, help="Connections to the command service.")
    ] = 8,
    seed: Annotated[
        int | None, typer.Option(help="Of the random transfers.", show_default="a new one")
    ] = None,
    state: options.State = None,
    identity: options.Identity = "loadtest",
    as_json: options.AsJson = False,
) -> None:
    """Send random transfers and print rate, outcomes and latency.

    Latency counts from when a request was due, so a constant --rate shows stalls that a closed loop
    would hide. Ends with 1 when anything but a transfer or a ledger's decline came back.
    """
    output = Output(as_json=as_json)
    plan = LoadPlan(seconds, workers, batch, rate)
    chosen_seed = secrets.randbits(32) if seed is None else seed

    async def work() -> tuple[Measurement, float]:
        name = f"load-{secrets.token_hex(4)}"
        openings = [
            Opening(NewAccount(f"{name}-{number}", "loadbank", CURRENCY), DEPOSIT)
            for number in range(accounts)
        ]
        async with find_deployment(state, identity).client(connections=connections) as client:
            with _progress(output, "opening accounts", 2 * accounts) as bar:
                population = await open_population(client, openings, name, bar.advanced)
                deposits = [(account, DEPOSIT) for account in population.customers[CURRENCY]]
                await fund(client, population, deposits, name, bar.advanced)
            # Not for secrets: a seed makes a run repeatable.
            chance = random.Random(chosen_seed)  # noqa: S311
            orders = random_orders(population, {CURRENCY: LARGEST}, chance, name)
            measured = Measurement()
            with _progress(output, "sending", plan.seconds) as bar:
                watch = asyncio.create_task(bar.follow(measured))
                try:
                    return measured, await run_load(client, orders, plan, measured)
                finally:
                    watch.cancel()

    measured, took_s = run(output, work)
    output.show(
        _text(measured, took_s, plan, chosen_seed),
        {
            "plan": asdict(plan),
            "seed": chosen_seed,
            "took_s": took_s,
            "transfers_per_s": measured.outcomes[OK] / took_s,
            "outcomes": measured.outcomes,
            "latency_ms": {
                f"p{percent:g}": measured.percentile_s(percent) * 1_000 for percent in PERCENTILES
            },
        },
    )
    if not measured.outcomes.keys() <= EXPECTED:
        raise typer.Exit(EXIT_FAILED)


class _Bar:
    """A progress bar on standard output's console."""

    def __init__(self, output: Output, what: str, total: float) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<18}"),
            BarColumn(bar_width=40),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=output.console,
            disable=output.as_json,
            transient=True,
        )
        self._task = self._progress.add_task(what, total=total, note="")

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advanced(self, items: int) -> None:
        self._progress.advance(self._task, items)

    async def follow(self, measured: Measurement) -> None:
        """Show time and rate until cancelled."""
        began_s = time.monotonic()
        before = 0
        while True:
            await asyncio.sleep(0.5)
            now = measured.transfers
            self._progress.update(
                self._task,
                completed=time.monotonic() - began_s,
                note=f"{(now - before) * 2:,}/s",
            )
            before = now


def _progress(output: Output, what: str, total: float) -> _Bar:
    return _Bar(output, what, total)


def _text(measured: Measurement, took_s: float, plan: LoadPlan, seed: int) -> Group:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    posted = measured.outcomes[OK]
    table.add_row("transfers posted", f"[bold]{posted:,}[/] in {took_s:.1f} s")
    table.add_row("rate", f"[bold green]{posted / took_s:,.0f}/s[/]")
    for name, count in measured.outcomes.most_common():
        style = "green" if name == OK else "yellow" if name in EXPECTED else "bold red"
        table.add_row(f"  [{style}]{name}[/]", f"{count:,}")
    what = "request" if plan.batch == 1 else f"request of {plan.batch}"
    for percent in PERCENTILES:
        table.add_row(
            f"latency of a {what}, p{percent:g}", f"{measured.percentile_s(percent) * 1000:,.1f} ms"
        )
    pace = "closed loop" if plan.rate_per_s is None else f"{plan.rate_per_s:,.0f}/s constant"
    return Group(table, f"[dim]{pace}, {plan.workers} workers, seed {seed}[/]")

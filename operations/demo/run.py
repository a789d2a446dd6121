"""The demo from first to last."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from operations.demo.accounts import COUNT, FILE, read
from operations.demo.scenes import EUR, Cast, Scenes
from operations.demo.stage import Act, Stage, expect
from operations.demo.tally import Tally
from operations.demo.traffic import Mix, run_traffic
from operations.deployment import Deployment
from operations.load.measure import OK
from operations.load.orders import random_orders
from operations.load.population import Opening, Population, fund, open_population
from operations.money import format_amount, format_money
from operations.verify.deployed import verify_deployment
from operations.views.history import freshness_line
from operations.views.verification import report_text
from operations.views.volume import volume_chart
from paycore.client import (
    Account,
    Interval,
    NewAccount,
    PaycoreClient,
    Pin,
    Timeouts,
    TransferKind,
)
from paycore.domain.errors import STORED_DECLINES

LARGEST = {"EUR": 20_000, "JPY": 20_000}
"""Of the random transfers, in minor units: below the local step-up thresholds."""

BULK_SHARE = 0.6
CAST_DEPOSIT = 500_000
SMALL_DEPOSIT = 1_000
PATIENCE = Timeouts(ordinary_s=2.0, step_up_s=5.0, bulk_s=10.0, total_s=30.0)
"""A laptop with everything on it may be slow; an interrupted demo shows nothing."""

READ_PATIENCE = Timeouts(ordinary_s=10.0, total_s=120.0)
"""Reads wait for the index to catch up with the traffic."""

EXPECTED = frozenset({OK, *(reason.value for reason in STORED_DECLINES)})
PIN_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Plan:
    """How large the demo is. `seed` makes its random transfers repeatable."""

    accounts: int = COUNT
    transfers: int = 20_000
    seed: int = 0
    file: Path = FILE


class Demo:
    """One performance on a deployment that runs."""

    def __init__(self, deployment: Deployment, console: Console, plan: Plan) -> None:
        self._deployment = deployment
        self._console = console
        self._plan = plan
        self._run = f"demo-{secrets.token_hex(4)}"
        self._stage = Stage(console)
        self._tally = Tally()
        self._population: Population | None = None
        self._cast_accounts: tuple[Account, ...] = ()
        self._began = datetime.now(UTC)

    @property
    def acts(self) -> tuple[Act, ...]:
        """What was shown so far."""
        return tuple(self._stage.acts)

    async def perform(self) -> bool:
        """Play every act; returns whether all of it held."""
        began_s = time.monotonic()
        async with (
            self._deployment.client(connections=8, timeouts=PATIENCE) as client,
            self._deployment.client(connections=1, timeouts=READ_PATIENCE) as reader,
        ):
            if await self._stage.play(
                "accounts from a CSV file, opened and funded", lambda: self._open(client)
            ):
                await self._stage.play(
                    f"{self._plan.transfers:,} random transfers, many at once",
                    lambda: self._send(client),
                )
                await self._play_scenes(client, reader)
        self._console.print()
        self._console.print(self._stage.summary())
        took = f"{time.monotonic() - began_s:.0f} s"
        verdict = (
            f"[bold green]all of it held[/] [dim]({took})[/]"
            if self._stage.held
            else f"[bold red]not all of it held[/] [dim]({took})[/]"
        )
        self._console.print(f"\n{verdict}")
        return self._stage.held

    async def _open(self, client: PaycoreClient) -> str:
        openings = read(self._plan.file, self._plan.accounts)
        cast = [
            Opening(NewAccount(f"{self._run}-payer", "Nordbank", EUR), CAST_DEPOSIT),
            Opening(NewAccount(f"{self._run}-payee", "Banco Ribera", EUR), SMALL_DEPOSIT),
            Opening(NewAccount(f"{self._run}-poor", "Banco Ribera", EUR), SMALL_DEPOSIT),
        ]
        banks = {opening.account.institution for opening in openings}
        currencies = sorted({opening.account.currency for opening in openings})
        self._stage.asked(
            f"CreateAccounts: {len(openings):,} accounts of {len(banks)} banks "
            f"in {' and '.join(currencies)}, from {self._plan.file.name}"
        )
        everyone = openings + cast
        with self._bar("opening", len(everyone) + len(currencies)) as (progress, task):
            population = await open_population(
                client, everyone, self._run, lambda done: progress.advance(task, done)
            )
        self._stage.saw(f"{len(everyone):,} customer accounts, {len(currencies)} EXTERNAL ones")
        deposits = _deposits(population, everyone)
        self._stage.asked("SubmitTransfers: a deposit to each, from the world outside")
        with self._bar("funding", len(deposits)) as (progress, task):
            receipts = await fund(
                client, population, deposits, self._run, lambda done: progress.advance(task, done)
            )
        for receipt in receipts:
            self._tally.posted(receipt.transfer)
        for currency in currencies:
            total = self._tally.volume[currency, TransferKind.DEPOSIT]
            self._stage.saw(f"{format_money(total, currency)} deposited")
        # The traffic must not touch those whose figures the scenes check.
        customers = dict(population.customers)
        self._cast_accounts = tuple(customers[EUR][-len(cast) :])
        customers[EUR] = customers[EUR][: -len(cast)]
        self._population = Population(customers, population.outside)
        return f"{len(everyone):,} opened, {len(receipts):,} funded"

    async def _send(self, client: PaycoreClient) -> str:
        assert self._population is not None
        in_bulk = int(self._plan.transfers * BULK_SHARE)
        mix = Mix(self._plan.transfers - in_bulk, in_bulk)
        self._stage.asked(
            f"{mix.one_by_one:,} by SubmitTransfer from {mix.unary_workers} workers, "
            f"{mix.in_bulk:,} by SubmitTransfers of {mix.batch} from {mix.bulk_workers}"
        )
        # Not for secrets: a seed makes a run repeatable.
        chance = random.Random(self._plan.seed)  # noqa: S311
        orders = random_orders(self._population, LARGEST, chance, self._run)
        began_s = time.monotonic()
        with self._bar("sending", mix.transfers, rate=True) as (progress, task):
            await run_traffic(
                client, orders, mix, self._tally, lambda done: progress.advance(task, done)
            )
        took_s = time.monotonic() - began_s
        outcomes = self._tally.outcomes
        for name, count in outcomes.most_common():
            style = "green" if name == OK else "yellow" if name in EXPECTED else "bold red"
            self._stage.saw(f"[{style}]{count:>7,}[/] {'posted' if name == OK else name}")
        rate = outcomes.total() / took_s
        self._stage.saw(f"[bold]{rate:,.0f} transfers/s[/], seed {self._plan.seed}")
        expect(outcomes.total() == mix.transfers, "some transfers had no outcome")
        unexpected = outcomes.keys() - EXPECTED
        expect(not unexpected, f"unexpected outcomes: {', '.join(sorted(unexpected))}")
        return f"{outcomes[OK]:,} posted, {rate:,.0f}/s"

    async def _play_scenes(self, client: PaycoreClient, reader: PaycoreClient) -> None:
        stage = self._stage
        pin, wrong = _two_pins()
        payer, payee, poor = self._cast_accounts
        cast = Cast(self._run, payer, payee, poor, pin, wrong)
        scenes = Scenes(stage, client, cast)
        await stage.play("a payment above the threshold, approved with a PIN", scenes.pin_payment)
        await stage.play("a wrong PIN", scenes.wrong_pin)
        await stage.play("a repeated request", scenes.replay)
        await stage.play("the same key with another request", scenes.key_reused)
        await stage.play("insufficient funds", scenes.insufficient_funds)
        busiest = self._tally.busiest({account.id for account in self._outside()})
        readings = Scenes(stage, reader, cast)
        await stage.play(
            "history from Elasticsearch, with running balances",
            lambda: readings.history(busiest, cast.last_position),
        )
        await stage.play(
            "volume per minute, from Elasticsearch", lambda: self._volume(reader, cast)
        )
        await stage.play(
            "top counterparties, from Elasticsearch",
            lambda: self._counterparties(reader, cast, busiest),
        )
        await stage.play("proof that no cent was lost", self._verify)

    def _outside(self) -> list[Account]:
        assert self._population is not None
        return list(self._population.outside.values())

    async def _volume(self, reader: PaycoreClient, cast: Cast) -> str:
        self._stage.asked("TransferVolume by minute since this demo began")
        volume = await reader.transfer_volume(
            self._began,
            datetime.now(UTC) + timedelta(minutes=1),
            Interval.MINUTE,
            min_position=cast.last_position,
        )
        self._stage.show(volume_chart(volume.buckets, Interval.MINUTE))
        self._stage.show(freshness_line(volume.freshness))
        shown = sum(bucket.count for bucket in volume.buckets)
        counted = self._tally.counts.total()
        # Others may use the same stack meanwhile, so there may be more, never less.
        expect(shown >= counted, f"{shown:,} transfers in the chart, {counted:,} acknowledged")
        for (currency, kind), total in sorted(self._tally.volume.items()):
            charted = sum(
                bucket.total
                for bucket in volume.buckets
                if (bucket.currency, bucket.kind) == (currency, kind)
            )
            expect(charted >= total, f"{kind} of {currency}: {charted} charted, {total} posted")
        return f"{shown:,} transfers charted, all that were acknowledged among them"

    async def _counterparties(self, reader: PaycoreClient, cast: Cast, account: int) -> str:
        self._stage.asked(f"TopCounterparties of account {account}")
        found = await reader.top_counterparties(account, limit=5, min_position=cast.last_position)
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for column in ("with account", "transfers", "sent", "received", ""):
            table.add_column(column, justify="left" if not column else "right")
        books = self._tally.exchanges[account]
        for item in found.counterparties:
            currency = item.sent.currency or item.received.currency
            table.add_row(
                str(item.account),
                str(item.count),
                format_amount(item.sent.minor_units, currency),
                format_amount(item.received.minor_units, currency),
                currency,
            )
        self._stage.show(table)
        self._stage.show(freshness_line(found.freshness))
        ranked = sorted((each.sent + each.received for each in books.values()), reverse=True)
        shown = [item.sent.minor_units + item.received.minor_units for item in found.counterparties]
        expect(shown == ranked[: len(shown)] and bool(shown), "these are not the largest")
        for item in found.counterparties:
            mine = books[item.account]
            expect(
                (item.count, item.sent.minor_units, item.received.minor_units)
                == (mine.count, mine.sent, mine.received),
                f"the figures with account {item.account} are not those of this demo's own books",
            )
        return f"{len(shown)} shown, equal to the demo's own books"

    async def _verify(self) -> str:
        self._stage.asked("paycore verify: recompute every account from its transfers")
        began_s = time.monotonic()
        report = await verify_deployment(self._deployment)
        self._stage.show(report_text(report, time.monotonic() - began_s))
        expect(report.held, "verification found breaches")
        return f"{len(report.checks)} rules hold"

    @contextmanager
    def _bar(
        self, what: str, total: int, *, rate: bool = False
    ) -> Iterator[tuple[Progress, TaskID]]:
        columns: list[ProgressColumn] = [
            TextColumn("   [dim]{task.description:<8}[/]"),
            BarColumn(bar_width=36),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        ]
        if rate:
            columns.append(_RateColumn())
        with Progress(*columns, console=self._console, speed_estimate_period=3) as progress:
            yield progress, progress.add_task(what, total=total)


class _RateColumn(ProgressColumn):
    """The live rate."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s", style="bold green")


def _deposits(population: Population, openings: Sequence[Opening]) -> list[tuple[Account, int]]:
    """Each account with its opening balance: within a currency both are in the same order."""
    opened = {currency: iter(found) for currency, found in population.customers.items()}
    return [(next(opened[opening.account.currency]), opening.deposit) for opening in openings]


def _two_pins() -> tuple[Pin, Pin]:
    """Two different PINs that are not too easy to guess."""
    digits = secrets.SystemRandom().sample("0123456789", PIN_DIGITS)
    while abs(int(digits[0]) - int(digits[1])) == 1:
        digits = secrets.SystemRandom().sample("0123456789", PIN_DIGITS)
    right = "".join(digits)
    return Pin(right), Pin(right[2:] + right[:2])

"""Volume as a bar chart, from characters that every terminal has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from operations.money import format_money
from paycore.client import Interval, TransferKind, VolumeBucket

BAR_WIDTH = 24
EIGHTHS = " ▏▎▍▌▋▊▉█"
KIND_STYLES = {
    TransferKind.TRANSFER: "cyan",
    TransferKind.DEPOSIT: "green",
    TransferKind.WITHDRAWAL: "yellow",
    TransferKind.CAPTURE: "blue",
    TransferKind.REFUND: "magenta",
    TransferKind.REVERSAL: "red",
    TransferKind.FEE: "bright_black",
    TransferKind.NET_SETTLEMENT: "white",
    TransferKind.HOLD: "bright_cyan",
    TransferKind.RELEASE: "bright_green",
}


def volume_chart(buckets: Iterable[VolumeBucket], interval: Interval) -> RenderableType:
    """A bar for each interval, a chart for each currency; bars are divided by kind."""
    by_currency: dict[str, dict[datetime, list[VolumeBucket]]] = defaultdict(dict)
    kinds = set()
    for bucket in buckets:
        by_currency[bucket.currency].setdefault(bucket.start, []).append(bucket)
        kinds.add(bucket.kind)
    if not by_currency:
        return Text("nothing moved in this time", style="dim")
    charts: list[RenderableType] = []
    for currency, intervals in sorted(by_currency.items()):
        charts.append(_chart(currency, intervals, interval))
    legend = Text("  ").join(
        Text.assemble(("■ ", style), kind.value.lower().replace("_", " "))
        for kind, style in KIND_STYLES.items()
        if kind in kinds
    )
    return Group(*charts, legend)


def _chart(
    currency: str, intervals: dict[datetime, list[VolumeBucket]], interval: Interval
) -> Table:
    table = Table(
        title=f"volume of {currency} per {interval.value.lower()} (UTC)",
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 2, 0, 0),
        show_header=False,
    )
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, width=BAR_WIDTH + 1)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    largest = max(sum(bucket.total for bucket in found) for found in intervals.values())
    for start, found in sorted(intervals.items()):
        total = sum(bucket.total for bucket in found)
        count = sum(bucket.count for bucket in found)
        table.add_row(
            _when(start, interval),
            _bar(found, largest),
            format_money(total, currency),
            f"{count:,} transfers",
        )
    return table


def _when(start: datetime, interval: Interval) -> str:
    return f"{start:%Y-%m-%d}" if interval is Interval.DAY else f"{start:%m-%d %H:%M}"


def _bar(buckets: list[VolumeBucket], largest: int) -> Text:
    bar = Text()
    done = 0
    for bucket in sorted(buckets, key=lambda bucket: list(KIND_STYLES).index(bucket.kind)):
        # Ends are rounded, not lengths, so that the parts add up to the whole.
        begin = done * BAR_WIDTH // largest
        done += bucket.total
        end = done * BAR_WIDTH // largest
        bar.append("█" * (end - begin), style=KIND_STYLES[bucket.kind])
    rest = done * BAR_WIDTH * 8 // largest % 8
    if rest or not bar:
        last = KIND_STYLES[buckets[-1].kind]
        bar.append(EIGHTHS[rest] if rest else EIGHTHS[1], style=last)
    return bar

"""Statistics as tables, with bars where shares are what matters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from operations.money import format_amount, format_money
from operations.views.as_is import as_is
from operations.views.volume import KIND_STYLES
from paycore.client import (
    AccountActivity,
    Counterparties,
    DeclineStatistics,
    InstitutionPositions,
    Interval,
    KindBreakdown,
    ProjectionLatency,
    TransferKind,
)

BAR_WIDTH = 24
_NOTHING_MOVED = Text("nothing moved in this time", style="dim")


def kinds_table(found: KindBreakdown) -> RenderableType:
    """A line for each currency and kind, with its share of the currency's money."""
    if not found.totals:
        return _NOTHING_MOVED
    of_currency: dict[str, int] = defaultdict(int)
    for total in found.totals:
        of_currency[total.currency] += total.total
    table = _table("kind", "", "sum>", "transfers>")
    for total in found.totals:
        table.add_row(
            _words(total.kind.value),
            _bar(total.total, of_currency[total.currency], KIND_STYLES[total.kind]),
            format_money(total.total, total.currency),
            f"{total.count:,}",
        )
    return table


def positions_table(found: InstitutionPositions) -> RenderableType:
    """What each institution paid, received, and is owed (or, red, owes)."""
    if not found.positions:
        return _NOTHING_MOVED
    table = _table("institution", "paid>", "received>", "net>", "within>")
    for one in found.positions:
        style = "red" if one.net < 0 else "green"
        table.add_row(
            as_is(one.institution),
            format_amount(one.paid, one.currency),
            format_amount(one.received, one.currency),
            Text(format_money(one.net, one.currency), style=style),
            format_amount(one.within, one.currency),
        )
    return table


def flows_table(found: InstitutionPositions) -> RenderableType:
    """What moved from each institution to each."""
    table = _table("from", "to", "sum>", "transfers>")
    for flow in found.flows:
        table.add_row(
            as_is(flow.from_institution),
            as_is(flow.to_institution),
            format_money(flow.total, flow.currency),
            f"{flow.count:,}",
        )
    return table


def activity_table(found: AccountActivity, interval: Interval) -> RenderableType:
    """A line for each interval, with the balance after it, between opening and total."""
    table = _table("time (UTC)", "received>", "paid>", "transfers>", f"balance {found.currency}>")
    table.add_row("opening", "", "", "", format_amount(found.opening_balance, found.currency))
    lines = [(_when(bucket.start, interval), bucket) for bucket in found.buckets]
    for label, bucket in [*lines, ("total", found.total)]:
        if label == "total":
            table.add_section()
        table.add_row(
            label,
            Text(f"+{format_amount(bucket.credit_total, found.currency)}", style="green"),
            Text(f"-{format_amount(bucket.debit_total, found.currency)}", style="red"),
            f"{bucket.credit_count + bucket.debit_count:,}",
            format_amount(bucket.closing_balance, found.currency),
        )
    return table


def declines_table(found: DeclineStatistics, interval: Interval | None) -> RenderableType:
    """A line for each reason, and for what was posted, with its share of all that was asked."""
    if not found.declines and not found.posted:
        return Text("nothing was asked for in this time", style="dim")
    lines = [
        (one.start, one.currency, one.kind, one.reason, one.count, one.total)
        for one in found.declines
    ] + [(one.start, one.currency, one.kind, "", one.count, one.total) for one in found.posted]
    asked: dict[tuple[object, ...], int] = defaultdict(int)
    for line in lines:
        asked[line[:3]] += line[4]
    time = "" if interval is None else "time (UTC)"
    table = _table(time, "kind", "outcome", "share>", "", "requests>", "sum>")
    for start, currency, kind, reason, count, total in sorted(lines, key=_in_order):
        of_all = asked[start, currency, kind]
        table.add_row(
            "" if start is None or interval is None else _when(start, interval),
            _words(kind.value),
            Text(_words(reason), style="red") if reason else Text("posted", style="green"),
            f"{count / of_all:.1%}",
            _bar(count, of_all, "red" if reason else "green"),
            f"{count:,}",
            format_money(total, currency),
        )
    return table


def _in_order(line: tuple[datetime | None, str, TransferKind, str, int, int]) -> tuple[object, ...]:
    return (line[0] or datetime.min, *line[1:4])


def counterparties_table(found: Counterparties) -> RenderableType:
    """Who they are, what went to them and what came from them."""
    if not found.counterparties:
        return _NOTHING_MOVED
    largest = max(one.sent.minor_units + one.received.minor_units for one in found.counterparties)
    table = _table("account>", "", "sent>", "received>", "transfers>")
    for one in found.counterparties:
        table.add_row(
            str(one.account),
            _bar(one.sent.minor_units + one.received.minor_units, largest, "cyan"),
            format_money(one.sent.minor_units, one.sent.currency),
            format_money(one.received.minor_units, one.received.currency),
            f"{one.count:,}",
        )
    return table


def latency_table(found: ProjectionLatency) -> RenderableType:
    """A line for each sink."""
    if not found.sinks:
        return Text("no sink has said how far it is", style="dim")
    table = _table(
        "sink", "behind now>", "p50>", "p95>", "p99>", "longest>", "transactions>", "over"
    )
    for one in found.sinks:
        recent = one.recent
        figures: Sequence[str] = ("", "", "", "", "0", "")
        if recent is not None:
            times = (recent.p50, recent.p95, recent.p99, recent.max)
            minutes = recent.window.total_seconds() / 60
            figures = (*map(_ms, times), f"{recent.count:,}", f"{minutes:.0f} min")
        table.add_row(one.sink, "" if one.lag is None else _ms(one.lag), *figures)
    return table


def _table(*columns: str) -> Table:
    """Columns whose name ends in > are of figures."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in columns:
        of_figures = name.endswith(">")
        table.add_column(
            name.removesuffix(">"), justify="right" if of_figures else "left", no_wrap=True
        )
    return table


def _bar(part: int, whole: int, style: str) -> Text:
    # Rounded up: what is there is seen.
    return Text("█" * -(-part * BAR_WIDTH // whole), style=style)


def _when(start: datetime, interval: Interval) -> str:
    return f"{start:%Y-%m-%d}" if interval is Interval.DAY else f"{start:%m-%d %H:%M}"


def _ms(span: timedelta) -> str:
    return f"{span.total_seconds() * 1_000:,.0f} ms"


def _words(name: str) -> str:
    return name.lower().replace("_", " ")

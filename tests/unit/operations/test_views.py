"""Charts and tables show the figures that they were given."""

from datetime import UTC, datetime, timedelta
from io import StringIO

from rich.console import Console, RenderableType

from operations.verify import Check, Report
from operations.views.verification import report_text
from operations.views.volume import BAR_WIDTH, volume_chart
from paycore.client import Interval, TransferKind, VolumeBucket
from paycore.domain.position import Position

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def rendered(what: RenderableType) -> str:
    console = Console(file=StringIO(), width=100, no_color=True)
    with console.capture() as captured:
        console.print(what)
    return captured.get()


def bucket(minute: int, kind: TransferKind, total: int, count: int = 1) -> VolumeBucket:
    return VolumeBucket(START + timedelta(minutes=minute), kind, "EUR", count, total)


def test_bars_are_in_proportion_and_the_largest_fills_the_width() -> None:
    chart = rendered(
        volume_chart(
            [
                bucket(0, TransferKind.TRANSFER, 1_000),
                bucket(1, TransferKind.TRANSFER, 1_500),
                bucket(1, TransferKind.DEPOSIT, 500),
            ],
            Interval.MINUTE,
        )
    )
    lines = [line for line in chart.splitlines() if "transfers" in line]
    assert [line.count("█") for line in lines] == [BAR_WIDTH // 2, BAR_WIDTH]
    assert "20.00 EUR" in lines[1]
    assert "2 transfers" in lines[1]


def test_the_smallest_interval_is_still_seen() -> None:
    chart = rendered(
        volume_chart(
            [bucket(0, TransferKind.TRANSFER, 1), bucket(1, TransferKind.TRANSFER, 10**9)],
            Interval.MINUTE,
        )
    )
    assert "▏" in chart


def test_sums_beyond_int64_are_shown_exactly() -> None:
    chart = rendered(volume_chart([bucket(0, TransferKind.TRANSFER, 10**20 + 1)], Interval.DAY))
    assert "1,000,000,000,000,000,000.01 EUR" in chart


def test_nothing_is_said_to_be_nothing() -> None:
    assert "nothing moved" in rendered(volume_chart([], Interval.MINUTE))


def test_a_breach_is_shown_with_its_ids() -> None:
    bad = Check("sums are zero", 2, "currencies", 1, {"currency": "EUR", "total": 7})
    report = Report(Position(1, 2, 3), (bad, Check("fine", 1, "rows", 0)), (), ("no index",))
    text = rendered(report_text(report, 0.1))
    assert "1 found; first: currency EUR, total 7" in text
    assert "left out: no index" in text
    assert "1 of 2 rules are broken" in text

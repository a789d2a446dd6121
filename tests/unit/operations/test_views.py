"""Charts and tables show the figures that they were given."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

from rich.console import Console, RenderableType

from operations.verify import Check, Report
from operations.views.history import history_line, history_table
from operations.views.statement import statement_table
from operations.views.verification import report_text
from operations.views.volume import BAR_WIDTH, volume_chart
from paycore.client import (
    Decline,
    Freshness,
    Interval,
    Money,
    StatementEntry,
    StatementPage,
    Transfer,
    TransferKind,
    TransferState,
    VolumeBucket,
)
from paycore.domain.position import Position

FRESH = Freshness("", "postgresql", timedelta(0))
START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def rendered(what: RenderableType) -> str:
    console = Console(file=StringIO(), width=100, no_color=True)
    with console.capture() as captured:
        console.print(what)
    return captured.get()


def bucket(minute: int, kind: TransferKind, total: int, count: int = 1) -> VolumeBucket:
    return VolumeBucket(START + timedelta(minutes=minute), kind, "EUR", count, total)


def transfer(kind: TransferKind, state: TransferState, **fields: Any) -> Transfer:
    """A transfer from account 11, which has 7.50 after it, to account 12, which has 2.50."""
    values: dict[str, Any] = {
        "id": 99,
        "kind": kind,
        "state": state,
        "debit_account": 11,
        "credit_account": 12,
        "amount": Money(125, "EUR"),
        "debit_version": 4,
        "credit_version": 5,
        "debit_balance_after": 750,
        "credit_balance_after": 250,
        "client": "app",
        "reference": "",
        "step_up_basis": None,
        "authorization_id": None,
        "created_at": START,
        "effective_at": None,
        "description": "",
        "metadata": {},
        "actor": None,
        "decline": None,
    }
    return Transfer(**{**values, **fields})


def line(account: int, shown: Transfer) -> list[str]:
    """The words of a table of one transfer, but for its time; a long note takes several lines."""
    lines = rendered(history_table(account, [shown])).splitlines()[1:]
    return " ".join(lines).split()[2:]


def test_a_line_tells_kind_and_state_from_either_side() -> None:
    refunded = transfer(TransferKind.TRANSFER, TransferState.PARTIALLY_REFUNDED, reference="r-1")
    kind, state = ["transfer"], ["partially", "refunded"]
    assert line(11, refunded) == ["4", *kind, *state, "12", "-1.25", "7.50", "r-1"]
    assert line(12, refunded) == ["5", *kind, *state, "11", "+1.25", "2.50", "r-1"]


def test_a_time_has_its_year() -> None:
    old = transfer(
        TransferKind.TRANSFER, TransferState.POSTED, created_at=datetime(2019, 3, 2, 1, tzinfo=UTC)
    )
    assert "2019-03-02 01:00:00" in rendered(history_table(11, [old]))
    assert history_line(11, old).startswith("2019-03-02 01:00:00 ")
    entry = StatementEntry(
        1, 1, old.created_at, TransferKind.TRANSFER, 2, 125, 125, "", "", None, 0
    )  # fmt: skip
    page = StatementPage(1, Money(0, "EUR"), (entry,), Money(125, "EUR"), "", FRESH)
    assert "2019-03-02 01:00:00" in rendered(statement_table([page]))


def test_what_moves_nothing_has_no_sign_and_no_entry_of_the_payee() -> None:
    nothing = {"credit_version": 0, "credit_balance_after": None}
    hold = transfer(TransferKind.HOLD, TransferState.HELD, **nothing)
    assert line(11, hold) == ["4", "hold", "held", "12", "1.25", "7.50"]
    assert line(12, hold) == ["hold", "held", "11", "1.25"]


def test_a_child_names_what_it_follows() -> None:
    capture = transfer(
        TransferKind.CAPTURE, TransferState.POSTED, parent_id=98, description="shoes"
    )
    shown = line(12, capture)
    assert shown == ["5", "capture", "posted", "11", "+1.25", "2.50", "follows", "98,", "shoes"]


def test_a_decline_tells_its_reason() -> None:
    declined = transfer(
        TransferKind.CAPTURE,
        TransferState.FAILED,
        debit_version=0,
        credit_version=0,
        debit_balance_after=None,
        parent_id=98,
        decline=Decline("HOLD_NOT_OPEN", {}),
    )
    shown = " ".join(line(11, declined))
    assert shown == "capture failed 12 -1.25 follows 98, hold not open"


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


def test_every_kind_has_its_place_in_a_bar() -> None:
    buckets = [bucket(0, kind, 100) for kind in TransferKind]
    chart = rendered(volume_chart(buckets, Interval.MINUTE))
    assert f"{len(TransferKind):,}.00 EUR" in chart
    assert all(kind.value.lower().replace("_", " ") in chart for kind in TransferKind)
    assert "refund" not in rendered(volume_chart(buckets[:1], Interval.MINUTE))


def test_nothing_is_said_to_be_nothing() -> None:
    assert "nothing moved" in rendered(volume_chart([], Interval.MINUTE))


def test_a_breach_is_shown_with_its_ids() -> None:
    bad = Check("sums are zero", 2, "currencies", 1, {"currency": "EUR", "total": 7})
    report = Report(Position(1, 2, 3), (bad, Check("fine", 1, "rows", 0)), (), ("no index",))
    text = rendered(report_text(report, 0.1))
    assert "1 found; first: currency EUR, total 7" in text
    assert "left out: no index" in text
    assert "1 of 2 rules are broken" in text

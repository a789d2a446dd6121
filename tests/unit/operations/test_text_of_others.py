"""What others wrote is shown as it is: it ends no view, styles nothing, and moves no cursor."""

import re
from collections.abc import Callable
from io import StringIO

import pytest
import typer
from rich.console import Console, RenderableType

from operations.cli.output import Output
from operations.desk import ShortReversal, WaitingReview
from operations.errors import UsageError
from operations.trail import TrailEntry, TrailPage
from operations.verify import Check, Report
from operations.views.accounts import account_table
from operations.views.as_is import as_is, in_markup
from operations.views.desk import reversals_table, reviews_table
from operations.views.found import found_table
from operations.views.history import history_line, history_table
from operations.views.receipts import group_text, receipt_text
from operations.views.statement import statement_table
from operations.views.statistics import flows_table, positions_table
from operations.views.trail import trail_view
from operations.views.verification import report_text
from operations.views.webhooks import deliveries_table, subscriptions_table
from paycore.client import (
    Account,
    AccountKind,
    AccountStatus,
    GroupReceipt,
    InstitutionFlow,
    InstitutionPosition,
    InstitutionPositions,
    Money,
    StatementEntry,
    StatementPage,
    Transfer,
    TransferKind,
    TransferReceipt,
    TransferState,
)
from paycore.client.webhook_model import Attempt, Delivery, Subscription
from paycore.domain.position import Position
from paycore.domain.webhooks import DeliveryState, SubscriptionState
from tests.unit.operations.test_views import FRESH, START, transfer

MONEY = Money(125, "EUR")

HOSTILE = (
    "[/x]",
    r"\[/x]",
    "[link=https://evil.example]a[/link]",
    "[bold red]a",
    "ends in \\",
    ":warning:",
    "\x1b[31ma",
    "\x1b]8;;https://evil.example\x07a",
    "a\rb\x08\x9b2J",
    "\u202ea",
)


def _transfer(text: str) -> Transfer:
    return transfer(TransferKind.TRANSFER, TransferState.POSTED, reference=text, description=text)


def _described(text: str) -> Transfer:
    return transfer(TransferKind.TRANSFER, TransferState.POSTED, description=text)


def _statement(text: str) -> RenderableType:
    entry = StatementEntry(
        1, 1, START, TransferKind.TRANSFER, 2, 125, 125, "", text, None, 0
    )  # fmt: skip
    return statement_table([StatementPage(1, Money(0, "EUR"), (entry,), MONEY, "", FRESH)])


def _account(text: str) -> RenderableType:
    return account_table(
        Account(
            1, text, text, "EUR", AccountKind.CUSTOMER, AccountStatus.ACTIVE, 0, 0, 0, 0, 1, 1,
            text, START, {text: text},
        )
    )  # fmt: skip


def _trail(text: str) -> RenderableType:
    entry = TrailEntry(
        "services", 1, START, START, 1, text, text, text, text, text, text, text, None, text, text,
        text, text, text, text, text, {"a": ""}, {"a": text},
    )  # fmt: skip
    return trail_view(TrailPage((entry,), "", sealed_searched=True))


def _positions(text: str) -> InstitutionPositions:
    return InstitutionPositions(
        (InstitutionFlow("EUR", text, text, 1, 1),),
        (InstitutionPosition("EUR", text, 1, 1, 0, 0),),
        FRESH,
    )


def _deliveries(text: str) -> RenderableType:
    attempt = Attempt(1, START, 0.1, None, text)
    return deliveries_table(
        [Delivery(1, 2, text, text, DeliveryState.DEAD, START, None, START, (attempt,))]
    )


VIEWS: dict[str, Callable[[str], RenderableType]] = {
    "history": lambda text: history_table(11, [_transfer(text)]),
    "history of what is described": lambda text: history_table(11, [_described(text)]),
    "watch": lambda text: history_line(11, _transfer(text)),
    "search": lambda text: found_table([_transfer(text)]),
    "statement": _statement,
    "account": _account,
    "trail": _trail,
    "reviews": lambda text: reviews_table([WaitingReview(1, text, 2, 3, MONEY, text, text, START)]),
    "reversals": lambda text: reversals_table([ShortReversal(1, 2, 3, 4, MONEY, 5, text, START)]),
    "receipt": lambda text: receipt_text(
        TransferReceipt(_transfer(text), text, "", replayed=False)
    ),
    "receipt of a group": lambda text: group_text(
        GroupReceipt(1, (_transfer(text),), text, "", replayed=False)
    ),
    "breach": lambda text: report_text(
        Report(Position(1, 2, 3), (Check("rule", 1, "rows", 1, {"name": text}),), (), ()), 0.1
    ),
    "positions": lambda text: positions_table(_positions(text)),
    "flows": lambda text: flows_table(_positions(text)),
    "subscriptions": lambda text: subscriptions_table(
        [Subscription(1, text, text, (text,), (), text, SubscriptionState.ENABLED, START)]
    ),
    "deliveries": _deliveries,
}

_STYLE = re.compile(r"\x1b\[[0-9;]*m")


def _shown(what: RenderableType) -> str:
    """What a terminal gets, without the styles of a view of ours."""
    console = Console(file=StringIO(), width=400, force_terminal=True, highlight=False, emoji=False)
    with console.capture() as captured:
        console.print(what)
    return captured.get()


def _expected(text: str) -> str:
    return "".join(mark if mark.isprintable() else "�" for mark in text)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_shows_it_as_it_is(view: str, text: str) -> None:
    shown = _shown(VIEWS[view](text))
    # A view has the styles that it has for a harmless text, and no more.
    assert _STYLE.findall(shown) == _STYLE.findall(_shown(VIEWS[view]("harmless")))
    plain = _STYLE.sub("", shown)
    assert _expected(text) in plain
    assert "\x1b" not in plain
    assert "\x9b" not in plain


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_an_error_is_told_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        Output(as_json=False).fail(UsageError(text.replace("\r", "")))
    told = capsys.readouterr().err
    assert _expected(text.replace("\r", "")) in told
    assert "\x1b" not in told


def test_the_lines_of_an_error_stay_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        Output(as_json=False).fail(UsageError("one\ntwo [/x]"))
    assert capsys.readouterr().err == "one\ntwo [/x]\n"


def test_text_that_is_harmless_is_not_changed() -> None:
    text = "naïve [1234] 収入 [b] \\ :warning:"
    assert as_is(text).plain == text
    console = Console(file=StringIO(), width=100, highlight=False, emoji=False)
    with console.capture() as captured:
        console.print(f"[dim]{in_markup(text)}[/]")
    assert captured.get() == text + "\n"

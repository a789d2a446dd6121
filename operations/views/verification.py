"""What verification found, rule by rule."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from operations.money import format_money
from operations.verify import Check, Report
from operations.verify.chain import ChainReport
from operations.views.as_is import as_is


def report_text(report: Report, took_s: float) -> RenderableType:
    """A line for each rule, the totals, and the verdict."""
    table = _rules(report.checks)
    for left_out in report.skipped:
        table.add_row("[yellow]-[/]", f"[yellow]left out: {left_out}[/]", "", "")
    lines: list[RenderableType] = [table]
    for total in report.totals:
        word = "declined" if total.state == "FAILED" else total.state.lower().replace("_", " ")
        money = format_money(total.total, total.currency)
        lines.append(f"[dim]{word}: {total.items:,} transfers of {money}[/]")
    broken = sum(not check.held for check in report.checks)
    verdict = (
        f"[bold green]{_whole(report)}[/]: {len(report.checks)} rules hold"
        if report.held
        else f"[bold red]{broken} of {len(report.checks)} rules are broken[/]"
    )
    return Group(*lines, f"{verdict} [dim]({took_s:.1f} s)[/]")


def chain_text(report: ChainReport, took_s: float) -> RenderableType:
    """A line for each rule, where the chain ends, and the verdict."""
    lines: list[RenderableType] = [_rules(report.checks)]
    for epoch, first in report.segments:
        lines.append(f"[dim]epoch {epoch} from seal {first} on[/]")
    if report.unsealed_rows:
        lines.append(f"[yellow]{report.unsealed_rows:,} journal rows are not sealed yet[/]")
    if report.head is None:
        lines.append("[yellow]nothing was ever sealed[/]")
    else:
        lines.append(f"head {report.head}")
    broken = sum(not check.held for check in report.checks)
    verdict = (
        "[bold green]the chain holds[/]"
        if report.held
        else f"[bold red]{broken} of {len(report.checks)} rules are broken[/]"
    )
    return Group(*lines, f"{verdict} [dim]({took_s:.1f} s)[/]")


def _rules(checks: Sequence[Check]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for check in checks:
        mark = "[green]✓[/]" if check.held else "[bold red]✗[/]"
        table.add_row(mark, check.rule, f"{check.examined:,}", check.unit)
        if not check.held:
            table.add_row("", as_is(_breach(check), "red"), "", "")
    return table


def _whole(report: Report) -> str:
    if report.since is None:
        return "the ledger is whole"
    return f"whole since transaction {report.since.xid}, {report.transfers:,} transfers"


def _breach(check: Check) -> str:
    figures = ", ".join(f"{name} {value}" for name, value in (check.first_violation or {}).items())
    return f"{check.violations:,} found; first: {figures}"

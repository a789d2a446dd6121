"""Transfers from the side of one account, and how old what is shown may be."""

from __future__ import annotations

from datetime import timedelta

from rich.table import Table

from operations.money import format_amount
from operations.views.as_is import as_is, in_markup
from paycore.client import Freshness, Transfer


def history_table(account: int, transfers: list[Transfer], *, with_notes: bool = True) -> Table:
    """One line a transfer, from the side of `account`.

    Notes are references and descriptions, and which transfer it follows. What moves nothing, as a
    hold, has no sign.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("time (UTC)", no_wrap=True)
    table.add_column("entry", justify="right", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("with account", justify="right", no_wrap=True)
    # An account has one currency, and so has all of its history.
    currency = f" {transfers[0].amount.currency}" if transfers else ""
    table.add_column(f"amount{currency}", justify="right", no_wrap=True)
    table.add_column("balance", justify="right", no_wrap=True)
    # The only column that may wrap, so the only one that gives way where the terminal is narrow.
    if with_notes:
        table.add_column("note", min_width=8)
    for transfer in transfers:
        *row, note = _row(account, transfer)
        table.add_row(*row, *([as_is(note)] if with_notes else []))
    return table


def _row(account: int, transfer: Transfer) -> tuple[str, ...]:
    """Cells with markup, and last the note, which is as others wrote it."""
    pays = transfer.debit_account == account
    currency = transfer.amount.currency
    amount = format_amount(transfer.amount.minor_units, currency)
    if pays:
        style, sign = "red", "-"
        balance, entry = transfer.debit_balance_after, transfer.debit_version
    else:
        style, sign = "green", "+"
        balance, entry = transfer.credit_balance_after, transfer.credit_version
    if transfer.decline is not None:
        style = "dim"
    elif not transfer.credit_version:
        style, sign = "dim", ""
    return (
        f"{transfer.created_at:%Y-%m-%d %H:%M:%S}",
        str(entry) if entry else "",
        words(transfer.kind.value),
        words(transfer.state.value),
        str(transfer.credit_account if pays else transfer.debit_account),
        f"[{style}]{sign}{amount}[/]",
        "" if balance is None else format_amount(balance, currency),
        _note(transfer),
    )


def _note(transfer: Transfer) -> str:
    said = (
        transfer.reference or transfer.description
        if transfer.decline is None
        else words(transfer.decline.reason)
    )
    follows = f"follows {transfer.parent_id}" if transfer.parent_id else ""
    return ", ".join(part for part in (follows, said) if part)


def history_line(account: int, transfer: Transfer) -> str:
    """The same as text on a line of its own, for what comes one by one."""
    time, entry, kind, state, other, amount, balance, note = _row(account, transfer)
    where = f"[dim]#{entry}[/]" if entry else "[dim]-[/]"
    after = f"  = {balance}" if balance else ""
    said = f"  [dim]{in_markup(note)}[/]" if note else ""
    amount = f"{amount} {transfer.amount.currency}"
    return f"{time}  {where}  {kind}, {state}  with {other}  {amount}{after}{said}"


def words(name: str) -> str:
    """A name of an enum as people write it."""
    return name.lower().replace("_", " ")


def freshness_line(freshness: Freshness, *, more: bool = False) -> str:
    """Where the answer came from and how old it may be."""
    tail = "; there is more (--limit)" if more else ""
    if freshness.complete_from is not None:
        tail += f"; nothing from before {freshness.complete_from:%Y-%m-%d %H:%M} UTC is in it"
    return f"[dim]from {freshness.source}, {_behind(freshness.lag)} behind the ledger{tail}[/]"


def _behind(lag: timedelta | None) -> str:
    return "unknown how far" if lag is None else f"{lag.total_seconds() * 1_000:,.0f} ms"

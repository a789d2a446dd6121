"""What a command that moved or held money did."""

from __future__ import annotations

from rich.console import Group

from operations.money import format_money
from operations.views.as_is import in_markup
from paycore.client import GroupReceipt, TransferReceipt

REPLAYED = "  [yellow](answered from the first request with this key)[/]"


def receipt_text(receipt: TransferReceipt) -> Group:
    """One transfer, with the balances that the caller may read."""
    done = receipt.transfer
    money = format_money(done.amount.minor_units, done.amount.currency)
    lines = [
        f"[green]✓[/] [bold]{money}[/] from {done.debit_account} to {done.credit_account}"
        + (REPLAYED if receipt.replayed else ""),
        f"  {done.kind.value.lower()} {done.id}, {done.created_at:%Y-%m-%d %H:%M:%S.%f} UTC",
    ]
    for side, balance in (
        ("payer", done.debit_balance_after),
        ("payee", done.credit_balance_after),
    ):
        if balance is not None:
            lines.append(f"  {side} now has {format_money(balance, done.amount.currency)}")
    lines.append(f"  [dim]key {in_markup(receipt.idempotency_key)}[/]")
    return Group(*lines)


def group_text(receipt: GroupReceipt) -> Group:
    """How many transfers there were, and their sums."""
    sums: dict[str, int] = {}
    for one in receipt.transfers:
        sums[one.amount.currency] = sums.get(one.amount.currency, 0) + one.amount.minor_units
    total = ", ".join(format_money(total, currency) for currency, total in sorted(sums.items()))
    return Group(
        f"[green]✓[/] [bold]{len(receipt.transfers):,} transfers[/], {total}"
        + (REPLAYED if receipt.replayed else ""),
        f"  group {receipt.group}",
        f"  [dim]key {in_markup(receipt.idempotency_key)}[/]",
    )

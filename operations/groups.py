"""A group of transfers as a CSV file, such as a payroll.

Columns: debit_account, credit_account, amount (a decimal in the currency's own exponent), currency;
and, where wanted, kind (TRANSFER when empty), reference, description.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable

from operations.errors import UsageError
from operations.money import parse_amount
from paycore.client import Money, TransferKind, TransferOrder

NEEDED = ("debit_account", "credit_account", "amount", "currency")
WANTED = ("kind", "reference", "description")
MOST = 1_000
"""Transfers in one group."""


def read_group(lines: Iterable[str]) -> list[TransferOrder]:
    """The transfers in the file's order.

    Raises UsageError, naming the line, for what is missing, unknown or malformed.
    """
    reader = csv.DictReader(lines, strict=True)
    columns = reader.fieldnames or ()
    missing = [name for name in NEEDED if name not in columns]
    unknown = [name for name in columns if name not in NEEDED + WANTED]
    if missing or unknown:
        complaint = f"no column {', '.join(missing)}" if missing else f"unknown: {unknown[0]!r}"
        raise UsageError(f"line 1: {complaint}; columns are {', '.join(NEEDED + WANTED)}")
    orders: list[TransferOrder] = []
    try:
        for row in reader:
            if len(orders) == MOST:
                raise UsageError(f"line {reader.line_num}: a group has at most {MOST:,} transfers")
            orders.append(_order(row))
    except (TypeError, ValueError, KeyError, csv.Error) as error:
        raise UsageError(f"line {reader.line_num}: {error}") from None
    if not orders:
        raise UsageError("the file has no transfer")
    return orders


def _order(row: dict[str, str]) -> TransferOrder:
    if None in row or None in row.values():
        raise ValueError("not as many fields as columns")
    currency = row["currency"]
    return TransferOrder(
        debit_account=int(row["debit_account"]),
        credit_account=int(row["credit_account"]),
        amount=Money(parse_amount(row["amount"], currency), currency),
        kind=TransferKind(row.get("kind", "").upper() or TransferKind.TRANSFER),
        reference=row.get("reference", ""),
        description=row.get("description", ""),
    )

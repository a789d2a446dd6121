"""Each account's entries, from the first to the last: versions, balances, floors and times."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from tests.support.crashing.tables import Account, Tables, Transfer

NO_BALANCE_MOVES = ("HOLD", "RELEASE")


class Entry(NamedTuple):
    """What one transfer did to one account."""

    version: int
    change: int
    held_change: int
    balance: int
    held: int | None
    """None on the credit side: what is held does not change there."""
    at_us: int
    transfer: int


def entries_of(tables: Tables) -> dict[int, list[Entry]]:
    """The entries of each account in the order of their versions."""
    found: dict[int, list[Entry]] = defaultdict(list)
    for row in tables.transfers:
        moves = row.kind not in NO_BALANCE_MOVES
        found[row.debit].append(
            Entry(
                row.debit_version,
                -row.amount if moves else 0,
                _held_change(row),
                row.debit_balance,
                row.held,
                row.created_at_us,
                row.id,
            )
        )
        if row.credit_version is not None and row.credit_balance is not None:
            found[row.credit].append(
                Entry(
                    row.credit_version,
                    row.amount,
                    0,
                    row.credit_balance,
                    None,
                    row.created_at_us,
                    row.id,
                )
            )
    return {account: sorted(entries) for account, entries in found.items()}


def chain_breaches(tables: Tables) -> Iterator[str]:
    """What is wrong with the entries of any account, or with the sum of all."""
    entries = entries_of(tables)
    sums: dict[str, int] = defaultdict(int)
    known = set()
    for account in tables.accounts:
        known.add(account.id)
        sums[account.currency] += account.balance
        yield from _of_account(account, entries.get(account.id, []))
    for stranger in sorted(entries.keys() - known):
        yield f"account {stranger} has entries and does not exist"
    for currency, total in sums.items():
        if total:
            yield f"the sum of all balances in {currency} is {total}"
    currencies = {account.id: account.currency for account in tables.accounts}
    for row in tables.transfers:
        if {currencies.get(row.debit), currencies.get(row.credit)} != {row.currency}:
            yield f"transfer {row.id} is in {row.currency}, an account of it is not"
        if (row.credit_version is None) != (row.kind in NO_BALANCE_MOVES):
            yield f"transfer {row.id}, a {row.kind}, has credit version {row.credit_version}"
        if row.amount <= 0:
            yield f"transfer {row.id} moves {row.amount}"


def _of_account(account: Account, entries: list[Entry]) -> Iterator[str]:
    balance = held = at_us = 0
    for place, entry in enumerate(entries, start=1):
        where = f"account {account.id}, transfer {entry.transfer}"
        if entry.version != place:
            yield f"{where}: version {entry.version} in place {place}"
        balance += entry.change
        held += entry.held_change
        if entry.balance != balance:
            yield f"{where}: balance {entry.balance} instead of {balance}"
        if entry.held is not None and entry.held != held:
            yield f"{where}: held {entry.held} instead of {held}"
        if held < 0:
            yield f"{where}: {held} are held"
        if account.kind == "CUSTOMER" and balance - held < -account.overdraft_limit:
            yield f"{where}: {balance} with {held} held is below the floor"
        if entry.at_us <= at_us:
            yield f"{where}: at {entry.at_us}, the entry before at {at_us}"
        balance, at_us = entry.balance, entry.at_us
        held = held if entry.held is None else entry.held
    if (account.balance, account.held, account.version) != (balance, held, len(entries)):
        yield (
            f"account {account.id} stands at balance {account.balance}, held {account.held},"
            f" version {account.version}; its entries at {balance}, {held}, {len(entries)}"
        )
    if entries and account.last_entry_us != at_us:
        yield f"account {account.id} had its last entry at {account.last_entry_us}, not {at_us}"


def _held_change(row: Transfer) -> int:
    match row.kind:
        case "HOLD":
            return row.amount
        case "RELEASE":
            return -row.amount
        case "CAPTURE":
            return -row.amount - (row.released or 0)
        case _:
            return 0

"""The rule of a statement: opening and entries give the closing, one entry after the other."""

from __future__ import annotations

from query_service.readers.records import StatementPage


def fault(page: StatementPage, opened_at: int, *, gap_free: bool) -> str | None:
    """What is wrong with `page`, which begins behind entry `opened_at`; None where it balances.

    With `gap_free` each version must follow on the one before: only holds may be left out.
    """
    balance, version, total = page.opening, opened_at, 0
    for entry in page.entries:
        if entry.version <= version or (gap_free and entry.version != version + 1):
            return f"version {entry.version} comes after {version}"
        if balance + entry.change != entry.balance_after:
            return f"at version {entry.version} the balance does not follow on that before it"
        balance, version = entry.balance_after, entry.version
        total += entry.change
    if page.opening + total != page.closing:
        return "opening and entries do not give the closing"
    return None

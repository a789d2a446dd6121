"""Holds, payments and what follows them: places, remainders and states."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.support.crashing.tables import Tables, Transfer

MAY_FOLLOW = {
    "CAPTURE": ("HOLD",),
    "RELEASE": ("HOLD",),
    "REFUND": ("TRANSFER", "CAPTURE", "FEE"),
    "REVERSAL": ("TRANSFER", "DEPOSIT", "WITHDRAWAL", "CAPTURE", "FEE", "NET_SETTLEMENT"),
}
ENDED = ("CAPTURED", "RELEASED", "EXPIRED", "REFUNDED", "REVERSED", "ROLLED_BACK")
"""States that nothing follows."""


def family_breaches(tables: Tables) -> Iterator[str]:
    """What is wrong between any parent and its children, or with an open hold."""
    by_id = {row.id: row for row in tables.transfers}
    children: dict[int, list[Transfer]] = defaultdict(list)
    for row in tables.transfers:
        if (row.kind in MAY_FOLLOW) != (row.parent is not None):
            yield f"transfer {row.id}, a {row.kind}, has parent {row.parent}"
        elif row.parent is not None:
            children[row.parent].append(row)
        if (row.step_up == "AUTHORIZED") != (row.authorization is not None):
            yield f"transfer {row.id} is {row.step_up}, with authorization {row.authorization}"
        if row.authorization is not None and row.authorization not in tables.authorizations:
            yield f"transfer {row.id} has authorization {row.authorization}, which is not there"
    left: dict[int, int] = {}
    for parent_id, found in children.items():
        parent = by_id.get(parent_id)
        if parent is None:
            yield f"transfer {found[0].id} follows {parent_id}, which is not there"
            continue
        found.sort(key=lambda row: row.parent_sequence or 0)
        yield from _family(parent, found)
        left[parent_id] = parent.amount - sum(row.amount + (row.released or 0) for row in found)
    holds = {row.id: left.get(row.id, row.amount) for row in tables.transfers if row.kind == "HOLD"}
    due = {hold: remaining for hold, remaining in holds.items() if remaining > 0}
    for hold in sorted(due.keys() | tables.open_holds.keys()):
        if due.get(hold) != tables.open_holds.get(hold):
            yield f"hold {hold} has {due.get(hold)} left, as open: {tables.open_holds.get(hold)}"


def _family(parent: Transfer, children: list[Transfer]) -> Iterator[str]:
    left, ended = parent.amount, False
    for place, child in enumerate(children, start=1):
        where = f"transfer {child.id}, {child.kind} of {parent.id}"
        left -= child.amount + (child.released or 0)
        if parent.kind not in MAY_FOLLOW[child.kind]:
            yield f"{where}: follows a {parent.kind}"
        if child.parent_sequence != place:
            yield f"{where}: is number {child.parent_sequence} in place {place}"
        if ended:
            yield f"{where}: follows what had ended"
        if left < 0 or child.parent_remaining != left:
            yield f"{where}: {child.parent_remaining} are left, by the rows {left}"
        there = (parent.credit, parent.debit)
        if parent.kind == "HOLD":
            there = (parent.debit, parent.credit)
        if (child.debit, child.credit) != there:
            yield f"{where}: between other accounts"
        if child.kind == "CAPTURE" and child.created_at_us >= (parent.expires_at_us or 2**63):
            yield f"{where}: captured past its deadline"
        if child.kind == "REVERSAL" and (place > 1 or child.amount != parent.amount):
            yield f"{where}: not of the whole"
        ended = child.parent_state in ENDED
        if ended != (left == 0):
            yield f"{where}: {left} are left in state {child.parent_state}"

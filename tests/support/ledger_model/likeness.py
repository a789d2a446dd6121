"""Whether what the ledger said is what the model says, whatever numbers each gives to things."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from tests.support.ledger_model.told import AllMoved, Declined, Moved, Refused, Told


@dataclass
class Names:
    """What the ledger calls the model's accounts, transfers, groups and declines.

    The ids of the two kinds never meet, and no figure of a program is as large as an id.
    """

    accounts: dict[int, int] = field(default_factory=dict)
    transfers: dict[int, int] = field(default_factory=dict)
    groups: dict[int, int] = field(default_factory=dict)
    """By number of their first transfer."""

    def account(self, number: int) -> int:
        """The ledger's id of an account of the model; one that no account has, for none of it."""
        return self.accounts.get(number, number)

    def transfer(self, number: int) -> int:
        """The ledger's id of a transfer of the model."""
        return self.transfers.get(number, number)

    def posted(self, number: int, transfer_id: int) -> None:
        """Remember what the ledger calls a new transfer, or check that it still calls it so."""
        if number not in self.transfers:
            assert transfer_id not in self.transfers.values(), "an id was given twice"
            self.transfers[number] = transfer_id
        assert self.transfers[number] == transfer_id

    def grouped(self, first: int, group_id: int) -> None:
        """The same of a group."""
        assert self.groups.setdefault(first, group_id) == group_id

    def figures(self, told: Mapping[str, str]) -> dict[str, str]:
        """The figures of a refusal, ids turned into the model's numbers."""
        numbers = {str(one): str(number) for number, one in self.accounts.items()}
        numbers |= {str(one): str(number) for number, one in self.transfers.items()}
        return {name: numbers.get(value, value) for name, value in told.items()}


def difference(expected: Told, seen: Told) -> str | None:
    """What of `seen` is not as `expected`, or None.

    Of a refusal's figures those that the model names must be there, and must not where it has None
    for them; others may be.
    """
    match expected, seen:
        case Refused() | Declined(), Refused() | Declined() if type(expected) is type(seen):
            return _other_refusal(expected, seen)
        case Moved(), Moved():
            found = _other_fields(expected.movement, seen.movement)
            return found or _other_fields(expected, seen)
        case AllMoved(), AllMoved() if len(expected.movements) == len(seen.movements):
            for one, other in zip(expected.movements, seen.movements, strict=True):
                if found := _other_fields(one, other):
                    return found
    return None if expected == seen else f"expected {expected}, seen {seen}"


def _other_refusal(expected: Refused | Declined, seen: Refused | Declined) -> str | None:
    named = {name: str(value) for name, value in expected.figures.items() if value is not None}
    told = {name: value for name, value in seen.figures.items() if name in named}
    hidden = {name for name, value in expected.figures.items() if value is None}
    if named != told or hidden & seen.figures.keys():
        return f"{expected.reason}: expected {named}, seen {seen.reason} {dict(seen.figures)}"
    return _other_fields(replace(expected, figures={}), replace(seen, figures={}))


def _other_fields(expected: object, seen: object) -> str | None:
    if expected == seen:
        return None
    others = [
        f"{one.name}: expected {getattr(expected, one.name)!r}, seen {getattr(seen, one.name)!r}"
        for one in fields(expected)  # type: ignore[arg-type]
        if getattr(expected, one.name) != getattr(seen, one.name)
    ]
    return f"{type(expected).__name__} {', '.join(others)}"


def timeless(told: Told) -> Told:
    """`told` without the ledger's time, which is unknown where it has clocks of its own."""
    match told:
        case Moved():
            return replace(told, movement=replace(told.movement, created_us=0))
        case AllMoved():
            movements = tuple(replace(one, created_us=0) for one in told.movements)
            return replace(told, movements=movements)
        case _:
            return told

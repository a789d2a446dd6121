"""Optimistic locking by callers, for holds and within groups."""

from __future__ import annotations

from typing import Any

import pytest

from paycore.domain.errors import Reason
from paycore.domain.transfers import (
    GroupPosted,
    Posted,
    Refused,
    TransferCommand,
    TransferKind,
)
from tests.support.samples import NOW_US, account, command, group, plan

SIDES = ("expected_debit_version", "expected_credit_version")


@pytest.mark.parametrize("side", SIDES)
def test_a_hold_stands_on_the_version_that_was_expected(side: str) -> None:
    accounts = [account(1, version=5), account(2, version=5)]

    def hold(expected: int) -> TransferCommand:
        changes: dict[str, Any] = {side: expected}
        return command(1, 2, kind=TransferKind.HOLD, expires_at_us=NOW_US + 1_000_000, **changes)

    (right,) = plan(accounts, [hold(5)]).outcomes
    assert isinstance(right, Posted)
    wrong = plan(accounts, [hold(4)])
    (refused,) = wrong.outcomes
    assert isinstance(refused, Refused)
    assert refused.error.reason is Reason.VERSION_MISMATCH
    assert (wrong.transfers, wrong.keys) == ([], [])


@pytest.mark.parametrize(
    ("first", "second", "third"),
    [
        # The versions that the items before left: 1 pays 2, 2 pays 3, 1 pays 3.
        ((5, 5), (6, 5), (6, 6)),
        ((5, None), (None, 5), (6, None)),
    ],
)
def test_a_group_expects_versions_as_its_earlier_items_left_them(
    first: tuple[int | None, int | None],
    second: tuple[int | None, int | None],
    third: tuple[int | None, int | None],
) -> None:
    accounts = [account(number, version=5) for number in (1, 2, 3)]
    legs = ((1, 2), (2, 3), (1, 3))
    expected = (first, second, third)
    items = [
        command(*leg, expected_debit_version=debit, expected_credit_version=credit)
        for leg, (debit, credit) in zip(legs, expected, strict=True)
    ]
    (outcome,) = plan(accounts, [group(*items)]).outcomes
    assert isinstance(outcome, GroupPosted)


@pytest.mark.parametrize(
    ("side", "expected", "named", "actual"),
    [
        ("expected_debit_version", 5, "1", "6"),
        ("expected_debit_version", 7, "1", "6"),
        ("expected_credit_version", 6, "3", "5"),
    ],
)
def test_another_version_within_a_group_refuses_it_whole(
    side: str, expected: int, named: str, actual: str
) -> None:
    accounts = [account(number, version=5) for number in (1, 2, 3)]
    changes: dict[str, Any] = {side: expected}
    planned = plan(accounts, [group(command(1, 2), command(1, 3, **changes))])
    (outcome,) = planned.outcomes
    assert isinstance(outcome, Refused)
    assert outcome.error.reason is Reason.VERSION_MISMATCH
    assert outcome.error.metadata == {
        "account": named,
        "expected": str(expected),
        "actual": actual,
        "item": "1",
    }
    assert (planned.transfers, planned.keys) == ([], [])

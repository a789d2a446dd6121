"""A group's file is read exactly, or refused with the line that is wrong."""

from __future__ import annotations

import pytest

from operations.errors import UsageError
from operations.groups import MOST, read_group
from paycore.client import Money, TransferKind, TransferOrder

HEAD = "debit_account,credit_account,amount,currency"


def test_every_column_is_read() -> None:
    lines = [
        HEAD + ",kind,reference,description",
        "11,12,2.50,EUR,,may,salary",
        '11,13,7,JPY,withdrawal,,"a, b"',
    ]
    assert read_group(lines) == [
        TransferOrder(11, 12, Money(250, "EUR"), reference="may", description="salary"),
        TransferOrder(11, 13, Money(7, "JPY"), TransferKind.WITHDRAWAL, description="a, b"),
    ]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "line 1: no column debit_account"),
        (["debit_account,amount,currency"], "line 1: no column credit_account"),
        ([HEAD + ",payee"], "line 1: unknown: 'payee'"),
        ([HEAD], "no transfer"),
        ([HEAD, "11,12,2.505,EUR"], "line 2: 2.505 has too many decimals"),
        ([HEAD, "11,12,1,EUR", "x,12,1,EUR"], "line 3: invalid literal"),
        ([HEAD, "11,12,1"], "line 2: not as many fields"),
        ([HEAD, "11,12,1,EUR,more"], "line 2: not as many fields"),
        ([HEAD + ",kind", "11,12,1,EUR,gift"], "line 2: 'GIFT' is not a valid"),
        ([HEAD, *["11,12,1,EUR"] * (MOST + 1)], "at most 1,000"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(lines: list[str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        read_group(lines)


def test_the_largest_group_is_read() -> None:
    assert len(read_group([HEAD, *["11,12,1,EUR"] * MOST])) == MOST

"""What was told is held against what is there: each way to differ is found."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.crashing.history import Operation, Reply, Verdict
from tests.support.crashing.history import Told as ToldTransfer
from tests.support.soaking.told import Told, key_breaches

CLIENT = "loadtest"
GOOD = Told(
    posted={(CLIENT, "a"): 1, (CLIENT, "g"): 7},
    declined={(CLIENT, "b"): 2},
    refused={(CLIENT, "c")},
    unheard={(CLIENT, "d"), (CLIENT, "e")},
)
STORED = {
    (CLIENT, "a"): (1, "TRANSFER"),
    (CLIENT, "g"): (7, "GROUP"),
    (CLIENT, "b"): (2, "DECLINE"),
    (CLIENT, "d"): (3, "TRANSFER"),
}


def test_what_is_as_it_was_told_is_right_and_what_nobody_heard_of_may_be_or_not() -> None:
    assert list(key_breaches(GOOD, STORED)) == []
    assert GOOD.commands == 6


@pytest.mark.parametrize(
    ("key", "stored", "said"),
    [
        ("a", None, "is lost"),
        ("a", (9, "TRANSFER"), "and has (9"),
        ("a", (1, "DECLINE"), "and has (1, 'DECLINE')"),
        ("b", None, "is lost"),
        ("c", (4, "TRANSFER"), "was refused, and has"),
        ("x", (5, "TRANSFER"), "nobody asked for it"),
    ],
)
def test_each_way_to_differ_is_found(key: str, stored: tuple[int, str] | None, said: str) -> None:
    there = {**STORED, (CLIENT, key): stored}
    found = list(key_breaches(GOOD, {name: one for name, one in there.items() if one}))
    assert len(found) == 1
    assert said in found[0]


def test_an_operation_is_taken_as_its_client_knows_it() -> None:
    transfer = ToldTransfer(
        id=1,
        kind="TRANSFER",
        debit=1,
        credit=2,
        amount=3,
        currency="EUR",
        client=CLIENT,
        reference="",
        debit_version=1,
        credit_version=1,
        debit_balance=None,
        credit_balance=None,
        held=None,
        created_at_us=0,
        parent=0,
        parent_sequence=0,
        parent_remaining=None,
        parent_state="",
        released=None,
        group=0,
        step_up="",
    )
    replies = {
        "posted": Reply(0, 1, Verdict.POSTED, (transfer,)),
        "group": Reply(0, 1, Verdict.POSTED, (replace(transfer, group=7),)),
        "declined": Reply(0, 1, Verdict.DECLINED, decline=2),
        "refused": Reply(0, 1, Verdict.REFUSED),
        "unheard": Reply(0, 1, Verdict.UNHEARD),
    }
    told = Told()
    for name, reply in replies.items():
        told.note(Operation(CLIENT, name, "SINGLE", (), replies=[reply]))
    told.note(Operation(CLIENT, "nothing", "SINGLE", ()))
    assert told == Told(
        {(CLIENT, "posted"): 1, (CLIENT, "group"): 7},
        {(CLIENT, "declined"): 2},
        {(CLIENT, "refused")},
        {(CLIENT, "unheard"), (CLIENT, "nothing")},
    )

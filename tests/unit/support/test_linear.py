"""Orders that exist are found, and what cannot have happened in any order is reported."""

from __future__ import annotations

import random

import pytest

from tests.support.crashing.bank import (
    TOTAL,
    OwnRead,
    PastRead,
    bank_breaches,
    own_read_breaches,
)
from tests.support.crashing.linear import (
    ALWAYS_S,
    NEVER_S,
    Mark,
    Read,
    Write,
    order_breaches,
)
from tests.unit.support.crashing_world import ANN, right_world

A, B, C = 1, 2, 3

OPENED = (
    Write(ALWAYS_S, NEVER_S, (Mark(A, 1, 10),)),
    Write(ALWAYS_S, NEVER_S, (Mark(B, 1, 10),)),
)
PAID = Write(1.0, 2.0, (Mark(A, 2, 7), Mark(B, 2, 13)))
UNHEARD = Write(1.0, NEVER_S, (Mark(A, 2, 7), Mark(B, 2, 13)))
LATER = Write(5.0, 6.0, (Mark(A, 3, 6), Mark(B, 3, 14)))


def found(reads: list[Read], *writes: Write) -> list[str]:
    return list(order_breaches(reads, (*OPENED, *writes)))


@pytest.mark.parametrize(
    "reads",
    [
        [Read(A, 0.0, 0.5, 1, 10), Read(A, 2.5, 3.0, 2, 7)],
        # While it was under way either may be seen, and both legs at once are no promise
        # of two reads that overlap.
        [Read(A, 1.1, 1.2, 2, 7), Read(B, 1.1, 1.9, 1, 10)],
        [Read(A, 1.1, 1.9, 1, 10), Read(B, 1.1, 1.9, 2, 13)],
        [Read(A, 0.0, 9.0, 1, 10), Read(A, 0.0, 9.0, 2, 7), Read(A, 0.0, 9.0, 1, 10)],
    ],
)
def test_what_can_have_happened_is_no_finding(reads: list[Read]) -> None:
    assert found(reads, PAID) == []


def test_what_was_never_heard_of_may_take_effect_late() -> None:
    assert found([Read(A, 90.0, 91.0, 1, 10), Read(A, 92.0, 93.0, 2, 7)], UNHEARD) == []


@pytest.mark.parametrize(
    ("reads", "word"),
    [
        ([Read(A, 3.0, 4.0, 1, 10)], "after its version 2 was known"),
        ([Read(A, 0.0, 0.5, 2, 7)], "before it can have been there"),
        ([Read(A, 3.0, 4.0, 2, 8)], "version 2 was read as 8, is 7"),
        ([Read(A, 3.0, 4.0, 9, 7)], "version 9, which does not exist"),
        ([Read(A, 1.1, 1.2, 2, 7), Read(A, 1.3, 1.4, 1, 10)], "after its version 2 was known"),
        ([Read(A, 1.1, 1.2, 2, 7), Read(B, 1.3, 1.4, 1, 10)], "after its version 2 was known"),
        ([Read(B, 1.1, 1.2, 2, 13), Read(A, 1.3, 1.4, 1, 10)], "after its version 2 was known"),
        ([Read(C, 1.1, 1.2, 1, 5)], "version 1, which does not exist"),
    ],
    ids=[
        "stale after the acknowledgement",
        "from the future",
        "another balance",
        "no such version",
        "back in time",
        "a leg is missing",
        "the other leg is missing",
        "no such account",
    ],
)
def test_what_cannot_have_happened_is_found(reads: list[Read], word: str) -> None:
    assert any(word in one for one in found(reads, PAID))


def test_whoever_saw_a_later_version_saw_the_other_legs_of_all_before_it() -> None:
    to_c = Write(3.0, 4.0, (Mark(B, 3, 12), Mark(C, 1, 1)))
    seen = [Read(C, 4.5, 4.6, 1, 1), Read(A, 4.7, 4.8, 1, 10)]
    unheard = Write(1.0, NEVER_S, PAID.marks)
    assert any("after its version 2 was known" in one for one in found(seen, unheard, to_c))


def test_an_acknowledgement_before_the_entry_before_it_was_asked_for_is_found() -> None:
    early = Write(1.0, 2.0, (Mark(A, 3, 6), Mark(B, 3, 14)))
    late = Write(5.0, 6.0, (Mark(A, 2, 7), Mark(B, 2, 13)))
    reads = [Read(A, 9.0, 9.5, 3, 6)]
    assert any("before what comes before it" in one for one in found(reads, late, early))
    assert found(reads, PAID, LATER) == []


def test_histories_that_happened_in_an_order_are_never_reported(rng: random.Random) -> None:
    for _ in range(200):
        reads, writes = happened(rng)
        assert list(order_breaches(reads, writes)) == []


def test_a_read_that_is_moved_to_another_version_is_reported(rng: random.Random) -> None:
    reported = 0
    for _ in range(200):
        reads, writes = happened(rng, latency_s=0.0)
        place = rng.randrange(len(reads))
        one = reads[place]
        reads[place] = Read(one.account, one.began_s, one.ended_s, one.version + 1, one.balance)
        reported += list(order_breaches(reads, writes)) != []
    assert reported == 200


def happened(rng: random.Random, latency_s: float = 3.0) -> tuple[list[Read], list[Write]]:
    """Transfers and reads, each at one moment within its interval."""
    figures = {account: [1, 50] for account in (A, B, C)}
    writes = [Write(ALWAYS_S, NEVER_S, (Mark(account, 1, 50),)) for account in figures]
    reads: list[Read] = []
    for number in range(1, 60):
        at_s = number * 0.5
        began_s, ended_s = at_s - rng.random() * latency_s, at_s + rng.random() * latency_s
        if rng.random() < 0.5 or not reads:
            account = rng.choice(list(figures))
            version, balance = figures[account]
            reads.append(Read(account, began_s, ended_s, version, balance))
            continue
        amount = rng.randint(1, 5)
        debit, credit = rng.sample(list(figures), 2)
        for account, change in ((debit, -amount), (credit, amount)):
            figures[account][0] += 1
            figures[account][1] += change
        heard_s = ended_s if rng.random() < 0.7 else NEVER_S
        marks = tuple(Mark(one, *figures[one]) for one in (debit, credit))
        writes.append(Write(began_s, heard_s, marks))
    return reads, writes


ACCOUNTS = (A, B)
PAST = PastRead(5, {A: 40, B: 60}, {A: 1, B: 1})


def test_a_right_bank_is_no_finding() -> None:
    reads = [Read(A, 0.0, 1.0, 1, 40)]
    assert list(bank_breaches(ACCOUNTS, reads, [TOTAL], [PAST])) == []


@pytest.mark.parametrize(
    ("reads", "totals", "past", "strangers", "word"),
    [
        ([Read(9, 0.0, 1.0, 1, 40)], [], [], [], "account 9 is none of the bank's"),
        ([Read(A, 0.0, 1.0, 1, -1)], [], [], [], "was read with -1"),
        ([], [99], [], [], "has 99 instead of 100"),
        ([], [], [PastRead(5, {A: 40, B: 61}, {})], [], "there were 101"),
        ([], [], [PastRead(5, {A: -1, B: 101}, {})], [], "was below zero"),
        ([], [], [PastRead(5, {A: 100}, {})], [], "is of accounts [1]"),
        ([], [], [], [7], "about account 7"),
    ],
)
def test_what_no_read_may_show_is_found(
    reads: list[Read], totals: list[int], past: list[PastRead], strangers: list[int], word: str
) -> None:
    found = list(bank_breaches(ACCOUNTS, reads, totals, past, strangers))
    assert any(word in one for one in found), found


@pytest.mark.parametrize(
    ("read", "word"),
    [
        (OwnRead(ANN, 2, 2, 70), ""),
        (OwnRead(ANN, 2, 3, 70), ""),
        (OwnRead(ANN, 2, 1, 100), "one's own payment had left version 2"),
        (OwnRead(ANN, 2, 2, 71), "balance 71 is not that of the version"),
        (OwnRead(ANN, 2, 99, 70), "balance 70 is not that of the version"),
    ],
)
def test_a_read_of_ones_own_payment_shows_it(read: OwnRead, word: str) -> None:
    found = list(own_read_breaches([read], right_world().tables))
    assert [word in one for one in found] == ([True] if word else [])

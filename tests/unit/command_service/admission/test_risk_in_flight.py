"""What was let through counts until it is stored or can be posted no more, and no longer."""

from __future__ import annotations

import pytest

from command_service.admission.risk import in_flight
from command_service.admission.risk.in_flight import POSTING_S, InFlight
from command_service.admission.risk.port import Question
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.money import Currency, Minor
from paycore.domain.transfers import TransferCommand, TransferKind

PAYER = AccountId(1)


def question(
    key: str, amount: int = 5, *, payer: int = PAYER, until_s: float = 10.0, item: int | None = None
) -> Question:
    command = TransferCommand(
        "app",
        key,
        b"",
        TransferKind.TRANSFER,
        AccountId(payer),
        AccountId(2),
        Minor(amount),
        Currency("EUR"),
    )
    return Question(command, until_s, item)


def test_amounts_are_told_apart_by_key_and_payer() -> None:
    flying = InFlight()
    flying.add(question("a", 5), 0)
    flying.add(question("b", 7), 0)
    flying.add(question("a", 100, payer=3), 0)
    assert flying.sums(question("a")) == (0, 7)
    assert flying.sums(question("new")) == (0, 12)
    assert flying.sums(question("a", payer=4)) == (0, 0)
    assert flying.keys(PAYER) == {("app", "a"), ("app", "b")}


def test_another_attempt_is_the_same_payments() -> None:
    flying = InFlight()
    for item, amount in enumerate((1, 2, 4)):
        flying.add(question("group", amount, item=item), 0)
    assert flying.sums(question("group", item=0)) == (0, 0)
    assert flying.sums(question("group", item=2)) == (3, 0)
    flying.add(question("group", 8, item=1), 0)
    assert flying.sums(question("group", item=2)) == (9, 0)
    assert flying.sums(question("other")) == (0, 13)


def test_what_is_stored_is_forgotten() -> None:
    flying = InFlight()
    flying.add(question("a"), 0)
    flying.add(question("b"), 0)
    flying.settle(PAYER, {("app", "a")}, 0)
    assert flying.keys(PAYER) == {("app", "b")}


def test_what_can_be_posted_no_more_is_forgotten() -> None:
    flying = InFlight()
    flying.add(question("a", until_s=10), 0)
    flying.settle(PAYER, (), 10 + POSTING_S - 0.001)
    assert len(flying) == 1
    flying.settle(PAYER, (), 10 + POSTING_S)
    assert len(flying) == 0


def test_payers_who_never_come_again_leave_nothing_behind() -> None:
    flying = InFlight()
    for payer in range(1, 50):
        flying.add(question("a", payer=payer), 0)
    flying.add(question("b", until_s=1_000), 10 + POSTING_S)
    assert len(flying) == 1


def test_there_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_flight, "MOST", 2)
    flying = InFlight()
    flying.add(question("a", until_s=1_000), 0)
    flying.add(question("b"), 0)
    with pytest.raises(PaycoreError) as refused:
        flying.add(question("c"), 0)
    assert refused.value.reason is Reason.OVERLOADED
    flying.add(question("c"), 10 + POSTING_S)
    assert flying.keys(PAYER) == {("app", "a"), ("app", "c")}

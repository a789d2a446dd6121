"""What was let through counts until its outcome is known or it can take effect no more."""

from __future__ import annotations

import pytest

from command_service.admission.risk.in_flight import POSTING_S, RETRY_AFTER_MS, InFlight
from command_service.admission.risk.port import Ending
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.plan import Key

PAYER, OTHER = AccountId(1), AccountId(2)
UNTIL_S = 10.0


def key(name: str, client: str = "app") -> Key:
    return client, name


def add(
    flying: InFlight,
    name: str,
    amount: int = 5,
    *,
    payer: AccountId = PAYER,
    client: str = "app",
    until_s: float = UNTIL_S,
    now_s: float = 0.0,
) -> int:
    """The ticket of one payment more."""
    return flying.add(key(name, client), {payer: amount}, until_s, now_s)[payer]


def test_amounts_are_told_apart_by_key_and_payer() -> None:
    flying = InFlight()
    add(flying, "a", 5)
    add(flying, "b", 7)
    add(flying, "a", 100, payer=OTHER)
    assert flying.of_others(PAYER, key("a")) == 7
    assert flying.of_others(PAYER, key("new")) == 12
    assert flying.of_others(OTHER, key("new")) == 100
    assert flying.of_others(AccountId(3), key("a")) == 0


def test_of_several_attempts_the_largest_counts_until_all_have_ended() -> None:
    flying = InFlight()
    small, large, middle = (add(flying, "a", amount) for amount in (2, 8, 5))
    assert flying.of_others(PAYER, key("b")) == 8
    flying.end([large], Ending.NOTHING_STORED, 0)
    flying.end([small, small], Ending.NOTHING_STORED, 0)
    assert flying.of_others(PAYER, key("b")) == 8
    flying.end([middle], Ending.NOTHING_STORED, 0)
    assert (flying.of_others(PAYER, key("b")), len(flying)) == (0, 0)


def test_what_is_stored_is_forgotten_with_every_attempt() -> None:
    flying = InFlight()
    first, second = add(flying, "a"), add(flying, "a")
    add(flying, "b")
    flying.end([first], Ending.STORED, 0)
    assert (flying.of_others(PAYER, key("new")), len(flying)) == (5, 1)
    flying.end([second], Ending.UNKNOWN, 0)
    assert flying.in_doubt(PAYER, 9) == []


def test_a_group_has_one_ticket_for_each_payer() -> None:
    flying = InFlight()
    tickets = flying.add(key("group"), {PAYER: 3, OTHER: 4}, UNTIL_S, 0)
    flying.end(tickets.values(), Ending.STORED, 0)
    assert len(flying) == 0


def test_what_is_in_doubt_stays_until_it_can_take_effect_no_more() -> None:
    flying = InFlight()
    ticket = add(flying, "a", until_s=1_000)
    flying.end([ticket], Ending.UNKNOWN, 50)
    assert flying.in_doubt(PAYER, 9) == [key("a")]
    flying.forget_old(50 + POSTING_S - 0.001)
    assert flying.of_others(PAYER, key("b")) == 5
    flying.forget_old(50 + POSTING_S)
    assert (flying.of_others(PAYER, key("b")), len(flying)) == (0, 0)


def test_what_is_in_doubt_and_found_stored_is_forgotten() -> None:
    flying = InFlight()
    for name in "abc":
        flying.end([add(flying, name)], Ending.UNKNOWN, 0)
    assert flying.in_doubt(PAYER, 2) == [key("a"), key("b")]
    flying.settle(PAYER, key("a"))
    flying.settle(PAYER, key("never seen"))
    assert flying.in_doubt(PAYER, 9) == [key("b"), key("c")]


def test_an_end_that_nobody_tells_does_not_keep_its_place_for_ever() -> None:
    flying = InFlight()
    for payer in range(1, 50):
        add(flying, "a", payer=AccountId(payer))
    add(flying, "b", until_s=1_000, now_s=UNTIL_S + POSTING_S - 0.001)
    assert len(flying) == 50
    add(flying, "c", until_s=1_000, now_s=UNTIL_S + POSTING_S)
    assert len(flying) == 2


def test_one_client_does_not_take_the_room_of_others() -> None:
    flying = InFlight(most=100)
    tickets = [add(flying, str(number)) for number in range(50)]
    with pytest.raises(PaycoreError) as refused:
        add(flying, "too many")
    assert refused.value.reason is Reason.OVERLOADED
    assert refused.value.retry_after_ms == RETRY_AFTER_MS
    for number in range(25):
        add(flying, str(number), client="another")
    with pytest.raises(PaycoreError, match="another"):
        add(flying, "too many", client="another")
    add(flying, "one", client="a third")
    flying.end(tickets[:27], Ending.STORED, 0)
    add(flying, "fits again")


def test_of_a_group_without_room_nothing_is_kept() -> None:
    flying = InFlight(most=10)
    with pytest.raises(PaycoreError):
        flying.add(key("group"), {AccountId(payer): 1 for payer in range(11)}, UNTIL_S, 0)
    assert len(flying) == 0
    assert flying.of_others(AccountId(0), key("new")) == 0


def test_any_number_of_payments_passes_whose_outcomes_are_told() -> None:
    flying = InFlight(most=1_000)
    under_way: list[int] = []
    for number in range(20_000):
        # All within two seconds, each with a minute to go.
        now_s = number / 10_000
        under_way.append(add(flying, str(number), until_s=now_s + 60, now_s=now_s))
        if len(under_way) == 400:
            flying.end(under_way, Ending.STORED, now_s)
            under_way.clear()
    assert len(flying) == 0

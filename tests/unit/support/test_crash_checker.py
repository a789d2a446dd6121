"""The checker finds nothing where all is right, and every wrong thing that it is there for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support.crashing.checker import check
from tests.support.crashing.history import Leg, Operation, Verdict
from tests.support.crashing.tables import Decline, Journaled, Key, Transfer
from tests.unit.support.crashing_world import (
    ANN,
    BOB,
    CLIENT,
    World,
    right_world,
    told,
    unheard,
)

Wrong = Callable[[World], object]


def row(world: World, number: int) -> Transfer:
    return next(one for one in world.tables.transfers if one.id == number)


def doubled(world: World) -> None:
    """The payment once more, with all that belongs to a right posting."""
    first = row(world, 11)
    world.tables.transfers.append(replace(first, id=99, created_at_us=5_000))


def also_declined(world: World) -> None:
    world.tables.declines.append(
        Decline(98, "TRANSFER", ANN, BOB, 30, "EUR", CLIENT, "paid", "RISK_DECLINED", 1, None, None)
    )


def another_reply(world: World) -> None:
    operation = world.operation("paid")
    operation.replies.append(replace(operation.replies[-1], body=b"something else"))


def another_first(world: World) -> None:
    operation = world.operation("paid")
    operation.replies.append(replace(operation.replies[-1], replayed=False))


def figures_of_another(world: World) -> None:
    operation = world.operation("paid")
    first = operation.replies[1]
    other = replace(first.transfers[0], debit_balance=71)
    operation.replies[1] = replace(first, transfers=(other,))


def told_of_nothing(world: World) -> None:
    operation = world.operation("paid")
    operation.replies = [replace(reply, transfers=()) for reply in operation.replies]


def unasked(world: World) -> None:
    world.history.operations.remove(world.operation("silent"))


def refused_and_done(world: World) -> None:
    operation = world.operation("silent")
    operation.looked_up = None
    operation.replies = [replace(operation.replies[0], verdict=Verdict.REFUSED)]


def unforeseen(world: World) -> None:
    operation = world.operation("paid")
    operation.replies[0] = replace(operation.replies[0], reason="INTERNAL")


def not_looked_up(world: World) -> None:
    world.operation("never").looked_up = None


def found_by_nobody(world: World) -> None:
    world.operation("silent").looked_up = world.operation("never").looked_up


def found_out_of_nothing(world: World) -> None:
    world.operation("never").looked_up = world.operation("silent").looked_up


def key_of_another(world: World) -> None:
    world.tables.keys = [
        replace(key, outcome_id=12) if key.key == "paid" else key for key in world.tables.keys
    ]


def key_lost(world: World) -> None:
    world.tables.keys = [key for key in world.tables.keys if key.key != "pair"]


def journal_forgets(world: World) -> None:
    world.tables.journal = [one for one in world.tables.journal if one.transfers != (11,)]


def half_a_group(world: World) -> None:
    world.without(22)


WRONG: dict[str, tuple[Wrong, str]] = {
    "an acknowledged payment is lost": (lambda w: w.without(11), "told of transfer 11, which is"),
    "an acknowledged decline is lost": (
        lambda w: w.tables.declines.clear(),
        "told of decline 30, which is not there",
    ),
    "a payment is doubled": (doubled, "asked for 1 transfers, has [11, 99]"),
    "a payment is posted and declined": (also_declined, "posted as 11 and declined as 98"),
    "half a group": (half_a_group, "1 of its 2 are posted"),
    "posted, but nothing": (told_of_nothing, "told that it is posted, and of no transfer"),
    "a payment that nobody asked for": (unasked, "'silent', which nobody asked for"),
    "another amount than asked": (lambda w: w.change(11, amount=31), "transfer 11 is another"),
    "other accounts than asked": (lambda w: w.change(11, debit=BOB, credit=ANN), "is another"),
    "another client's": (lambda w: w.change(11, client="other"), "transfer 11 is another"),
    "another parent than asked": (lambda w: w.change(15, parent=22), "transfer 15 is another"),
    "figures that are not the row's": (figures_of_another, "the row is"),
    "refused, and done": (refused_and_done, "every attempt was refused, and it has an outcome"),
    "an error that is nobody's word": (unforeseen, "met what the service had not foreseen"),
    "nobody asked what became of it": (not_looked_up, "nobody knows what became of it"),
    "there, and not found by its key": (found_by_nobody, "the look-up finds [], there is [31]"),
    "found, and not there": (found_out_of_nothing, "the look-up finds [31], there is []"),
    "a replay that differs": (another_reply, "replies, which are not equal"),
    "two first replies": (another_first, "2 replies say that they are the first"),
    "a key that leads elsewhere": (key_of_another, "its key leads to TRANSFER 12"),
    "a key that is lost": (key_lost, "its key is not stored"),
    "a key twice": (
        lambda w: w.tables.keys.append(Key(CLIENT, "paid", "TRANSFER", 11)),
        "key paid of shop is stored 2 times",
    ),
    "an outcome with two keys": (
        lambda w: w.tables.keys.append(Key(CLIENT, "more", "TRANSFER", 11)),
        "outcome 11 has 2 keys",
    ),
    "the journal forgets": (journal_forgets, "the journal does not tell of 11"),
    "the journal tells twice": (
        lambda w: w.tables.journal.append(Journaled(999, 1, (11,), ())),
        "the journal tells 2 times of 11",
    ),
    "the journal makes up": (
        lambda w: w.tables.journal.append(Journaled(999, 1, (77,), ())),
        "the journal tells of 77, which is not there",
    ),
    "a version is missing": (lambda w: w.change(16, debit_version=8), "version 8 in place 7"),
    "a version is forked": (lambda w: w.change(31, debit_version=5), "version 5 in place"),
    "a balance that does not follow": (
        lambda w: w.change(11, credit_balance=29),
        "balance 29 instead of 30",
    ),
    "held that does not follow": (lambda w: w.change(12, held=19), "held 19 instead of 20"),
    "time that stands still": (lambda w: w.change(12, created_at_us=1_011), "the entry before at"),
    "below the floor at a version": (
        lambda w: w.change_account(BOB, overdraft_limit=-100),
        "is below the floor",
    ),
    "a balance of its own": (lambda w: w.change_account(BOB, balance=1), "stands at balance 1"),
    "a version of its own": (lambda w: w.change_account(ANN, version=99), "version 99"),
    "held of its own": (lambda w: w.change_account(ANN, held=0), "held 0, version"),
    "a last entry of its own": (
        lambda w: w.change_account(ANN, last_entry_us=1),
        "last entry at 1",
    ),
    "money out of nothing": (
        lambda w: w.change_account(1, balance=-99),
        "the sum of all balances in EUR is 1",
    ),
    "another currency": (
        lambda w: w.change_account(BOB, currency="USD"),
        "an account of it is not",
    ),
    "an account that does not exist": (
        lambda w: w.tables.accounts.pop(),
        "has entries and does not exist",
    ),
    "a hold that moves money": (
        lambda w: w.change(12, credit_version=9, credit_balance=9),
        "a HOLD, has credit version 9",
    ),
    "a child out of place": (lambda w: w.change(14, parent_sequence=3), "is number 3 in place 2"),
    "a remainder that is wrong": (
        lambda w: w.change(13, parent_remaining=6),
        "6 are left, by the rows 5",
    ),
    "more captured than held": (lambda w: w.change(13, amount=25), "by the rows -5"),
    "something after the end": (
        lambda w: w.change(13, parent_state="CAPTURED"),
        "follows what had ended",
    ),
    "an end with something left": (
        lambda w: w.change(15, parent_state="REFUNDED"),
        "20 are left in state REFUNDED",
    ),
    "a capture past its time": (
        lambda w: w.change(12, expires_at_us=1_013),
        "captured past its deadline",
    ),
    "a refund to somebody else": (
        lambda w: w.change(15, debit=ANN, credit=BOB),
        "between other accounts",
    ),
    "a release of a payment": (lambda w: w.change(14, parent=11), "follows a TRANSFER"),
    "a child without its parent": (lambda w: w.without(12), "follows 12, which is not there"),
    "an open hold that is forgotten": (
        lambda w: w.tables.open_holds.clear(),
        "hold 16 has 7 left, as open: None",
    ),
    "an open hold that has ended": (
        lambda w: w.tables.open_holds.update({12: 1}),
        "hold 12 has None left, as open: 1",
    ),
    "approved by nobody": (
        lambda w: w.change(11, step_up="AUTHORIZED"),
        "is AUTHORIZED, with authorization None",
    ),
    "an approval that is not there": (
        lambda w: w.change(11, step_up="AUTHORIZED", authorization=5),
        "has authorization 5, which is not there",
    ),
}


def test_nothing_is_found_where_all_is_right() -> None:
    world = right_world()
    assert check(world.history, world.tables, world.before).all == ()


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_found(name: str) -> None:
    world = right_world()
    spoil, word = WRONG[name]
    spoil(world)
    found = check(world.history, world.tables, world.before).all
    assert any(word in one for one in found), found


def test_what_is_lost_and_what_is_doubled_are_counted_apart() -> None:
    world = right_world()
    world.without(11)
    assert len(check(world.history, world.tables, world.before).lost) == 1
    world = right_world()
    doubled(world)
    assert len(check(world.history, world.tables, world.before).doubled) == 1


def test_what_was_there_before_need_not_have_been_asked_for() -> None:
    world = right_world()
    found = check(world.history, world.tables).all
    assert found == ("10 has reference '', which nobody asked for",)


def test_an_acknowledgement_counts_once_however_often_it_is_heard() -> None:
    world = right_world()
    assert world.history.acknowledged == 8
    operation = world.operation("paid")
    world.history.note(operation, operation.replies[-1])
    assert world.history.acknowledged == 8


def test_a_command_is_unheard_until_something_says_what_became_of_it() -> None:
    world = right_world()
    operation = world.history.begin(Operation(CLIENT, "new", "SINGLE", (Leg("TRANSFER"),)))
    assert operation.unheard
    world.history.note(operation, unheard(1.0))
    assert operation.unheard
    paid = next(one for one in world.tables.transfers if one.id == 11)
    world.history.note(operation, told(paid, began_s=2.0))
    assert not operation.unheard

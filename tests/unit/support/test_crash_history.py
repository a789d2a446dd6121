"""What a history tells of itself while it grows."""

from __future__ import annotations

from dataclasses import replace

from tests.support.crashing.history import History, Leg, Operation, Reply, Verdict
from tests.unit.support.crashing_world import ANN, BOB, CLIENT, right_world


def posted(key: str) -> Reply:
    found = right_world().operation(key).posted
    assert found is not None
    return found


def newest(history: History) -> tuple[Reply | None, int]:
    """What was told last, and how many transfers were told of."""
    return history.newest, history.acknowledged


def asked(history: History) -> Operation:
    return history.begin(Operation(CLIENT, "one", "SINGLE", (Leg("TRANSFER", ANN, BOB, 30),)))


def test_only_what_is_told_for_the_first_time_is_new() -> None:
    history, first = History(), posted("paid")
    operation = asked(history)
    history.note(operation, Reply(0.0, 1.0, Verdict.UNHEARD))
    assert newest(history) == (None, 0)
    history.note(operation, first)
    history.note(operation, replace(first, ended_s=99.0, replayed=True))
    # A replay tells of nothing new, however late it comes.
    assert newest(history) == (first, 1)
    other = posted("pair")
    history.note(asked(history), other)
    assert newest(history) == (other, 3)


def test_equal_replies_are_kept_once_and_others_as_they_are() -> None:
    history, first = History(), posted("paid")
    operation = asked(history)
    history.note(operation, first)
    same = replace(
        first, transfers=tuple(map(replace, first.transfers)), body=bytes(bytearray(first.body))
    )
    assert same.transfers[0] is not first.transfers[0]
    other = replace(same, transfers=(replace(same.transfers[0], amount=31),))
    history.note(operation, same)
    history.note(operation, other)
    kept = operation.replies
    assert kept[1].transfers is first.transfers
    assert kept[1].body is first.body
    assert kept[2] == other

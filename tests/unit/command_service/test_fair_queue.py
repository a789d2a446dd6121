"""Turns of clients, places of those that wait, and room for everyone."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from command_service.posting.fair_queue import FairQueue, Verdict

Item = tuple[str, int]

MANY = 1_000


def items(client: str, count: int, start: int = 0) -> list[Item]:
    return [(client, number) for number in range(start, start + count)]


def one(_: Item) -> int:
    return 1


def filled(**counts: int) -> FairQueue[Item]:
    queue: FairQueue[Item] = FairQueue(10_000, one)
    for client, count in counts.items():
        queue.add(client, items(client, count))
    return queue


def all_run(_: Item) -> Verdict:
    return Verdict.TAKE


def nothing(_: Item) -> None:
    """These items reserve nothing."""


def only(*clients: str) -> Callable[[Item], Verdict]:
    return lambda item: Verdict.TAKE if item[0] in clients else Verdict.WAIT


def test_one_client_is_served_in_order_of_arrival() -> None:
    queue = filled(a=5)

    assert queue.take(3, MANY, all_run, nothing) == items("a", 3)
    assert queue.take(3, MANY, all_run, nothing) == items("a", 2, 3)
    assert len(queue) == 0


def test_a_flood_takes_no_more_than_its_turns() -> None:
    queue = filled(flood=1_000, light=1, other=2)

    batch = queue.take(100, MANY, all_run, nothing)

    assert batch[:5] == [("flood", 0), ("light", 0), ("other", 0), ("flood", 1), ("other", 1)]
    assert Counter(client for client, _ in batch) == {"flood": 97, "light": 1, "other": 2}


def test_turns_go_on_in_the_next_batch() -> None:
    queue = filled(a=10, b=10, c=10)

    first = queue.take(2, MANY, all_run, nothing)
    second = queue.take(2, MANY, all_run, nothing)

    assert first == [("a", 0), ("b", 0)]
    assert second == [("c", 0), ("a", 1)]


def test_what_waits_keeps_its_place_and_is_looked_at_first() -> None:
    queue = filled(a=2, b=2)
    assert queue.take(10, MANY, only("b"), nothing) == items("b", 2)
    queue.add("c", items("c", 1))
    seen: list[Item] = []

    def judge(item: Item) -> Verdict:
        seen.append(item)
        return Verdict.TAKE

    assert queue.take(10, MANY, judge, nothing) == [*items("a", 2), ("c", 0)]
    assert seen[:2] == items("a", 2)


def test_those_that_wait_leave_half_of_the_batch_to_others() -> None:
    queue = filled(a=100)
    queue.take(10, MANY, only(), nothing)
    queue.add("b", items("b", 5))

    batch = queue.take(10, MANY, all_run, nothing)

    assert Counter(client for client, _ in batch) == {"a": 5, "b": 5}


def test_no_more_of_a_client_wait_than_allowed_and_others_have_their_turns() -> None:
    queue = filled(a=100)
    seen: list[Item] = []

    def judge(item: Item) -> Verdict:
        seen.append(item)
        return only("b")(item)

    assert queue.take(10, 7, judge, nothing) == []
    assert seen == items("a", 7)
    queue.add("b", items("b", 2))
    assert queue.take(10, 7, judge, nothing) == items("b", 2)
    assert len(queue) == 100
    assert len(queue.take(100, 7, all_run, nothing)) == 100


def test_as_many_more_are_looked_at_as_no_longer_wait() -> None:
    queue = filled(a=10)
    assert queue.take(100, 4, only(), nothing) == []
    seen: list[Item] = []

    def judge(item: Item) -> Verdict:
        seen.append(item)
        return Verdict.TAKE if item[1] == 0 else Verdict.WAIT

    assert queue.take(100, 4, judge, nothing) == items("a", 1)
    assert seen == items("a", 5)


def test_what_leaves_makes_room_by_its_weight() -> None:
    queue: FairQueue[Item] = FairQueue(100, lambda item: item[1])
    queue.add("a", [("a", 10), ("a", 20), ("a", 5)])
    assert queue.take(10, MANY, only(), nothing) == []
    assert queue.take(1, MANY, all_run, nothing) == [("a", 10)]
    assert (len(queue), queue.room("a"), queue.room("b")) == (25, 50, 75)
    queue.add("b", [("b", 20), ("b", 7)])
    assert queue.take_light(27, 100, all_run, nothing) == [("b", 20), ("b", 7)]
    assert (len(queue), queue.room("a"), queue.room("b")) == (25, 50, 75)


def test_light_is_who_has_so_much_and_no_more() -> None:
    queue = filled(some=3, more=4)
    assert queue.take_light(3, 100, all_run, nothing) == items("some", 3)
    assert len(queue) == 4


def test_whatever_stays_reserves_before_a_later_one_is_judged() -> None:
    queue = filled(a=4)
    reserved: list[Item] = []
    queue.take(10, MANY, only(), nothing)
    queue.add("b", items("b", 1))

    def judge(item: Item) -> Verdict:
        if item[0] == "b":
            assert reserved == items("a", 2, 2)
        return Verdict.TAKE

    assert queue.take(4, MANY, judge, reserved.append) == [*items("a", 2), ("b", 0)]


def test_dropped_items_are_gone_and_take_nobodys_turn() -> None:
    queue = filled(a=50, b=1)

    def judge(item: Item) -> Verdict:
        return Verdict.DROP if item[0] == "a" and item[1] < 40 else Verdict.TAKE

    assert queue.take(3, MANY, judge, nothing) == [("a", 40), ("b", 0), ("a", 41)]
    assert len(queue) == 8


def test_a_flood_leaves_room_for_others() -> None:
    queue: FairQueue[Item] = FairQueue(100, one)

    def fill(client: str) -> int:
        added = 0
        while queue.room(client) >= 1:
            queue.add(client, [(client, added)])
            added += 1
        return added

    assert [fill(client) for client in "abcd"] == [50, 25, 13, 6]
    assert queue.room("newcomer") >= 1
    assert queue.room("newcomer") < 8


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 8)), max_size=12),
    st.integers(1, 9),
    st.integers(1, 20),
    st.randoms(use_true_random=False),
)
def test_everything_leaves_once_and_in_the_order_of_its_client(
    arrivals: list[tuple[str, int]], most: int, most_waiting: int, chance: random.Random
) -> None:
    queue: FairQueue[Item] = FairQueue(10_000, one)
    added: Counter[str] = Counter()
    for client, count in arrivals:
        queue.add(client, items(client, count, added[client]))
        added[client] += count
    left: list[Item] = []
    blocked: set[str] = set()

    def judge(item: Item) -> Verdict:
        unlucky = chance.random() < 0.3
        return Verdict.WAIT if item[0] in blocked or unlucky else Verdict.TAKE

    for _ in range(10_000):
        if not len(queue):
            break
        blocked.clear()
        # As with accounts: who waits holds up those behind.
        batch = queue.take(most, most_waiting, judge, lambda item: blocked.add(item[0]))
        assert len(batch) <= most
        left += batch
    assert len(queue) == 0
    assert Counter(client for client, _ in left) == added
    for client, count in added.items():
        assert [item for item in left if item[0] == client] == items(client, count)


def test_what_weighs_more_takes_more_of_the_queue_and_of_the_batch() -> None:
    queue: FairQueue[Item] = FairQueue(100, lambda item: item[1])
    queue.add("a", [("a", 40), ("a", 5)])
    queue.add("b", [("b", 30)])

    assert len(queue) == 75
    assert queue.room("c") >= 25
    assert queue.room("c") < 26
    # What is too large for what is left of a batch still goes into it: it could never go otherwise.
    assert queue.take(41, MANY, all_run, nothing) == [("a", 40), ("b", 30)]
    assert len(queue) == 5
    assert queue.take(41, MANY, all_run, nothing) == [("a", 5)]
    assert queue.room("c") >= 100


class TestLight:
    """Clients with little in the queue, taken apart from those that flood it."""

    def test_only_those_with_little_are_taken_and_the_rest_stays_in_its_order(self) -> None:
        queue = filled(flood=500, light=2, middle=17, other=1)
        taken = queue.take_light(16, 100, all_run, nothing)
        assert taken == [("light", 0), ("light", 1), ("other", 0)]
        assert len(queue) == 517
        rest = queue.take(1_000, MANY, all_run, nothing)
        assert [one for one in rest if one[0] == "flood"] == items("flood", 500)
        assert [one for one in rest if one[0] == "middle"] == items("middle", 17)
        assert len(queue) == 0

    def test_no_more_than_asked_for(self) -> None:
        queue = filled(light=5)
        assert queue.take_light(16, 3, all_run, nothing) == items("light", 3)
        assert queue.take_light(16, 3, all_run, nothing) == items("light", 2, 3)
        assert queue.take_light(16, 3, all_run, nothing) == []

    def test_what_waits_reserves_first_and_is_not_overtaken(self) -> None:
        queue = filled(flood=20, light=1)
        assert queue.take(1, MANY, only("nobody"), nothing) == []
        queue.add("light", items("light", 1, 1))
        reserved: list[Item] = []
        blocked = {"light"}

        def judge(item: Item) -> Verdict:
            return Verdict.WAIT if item[0] in blocked else Verdict.TAKE

        assert queue.take_light(16, 100, judge, reserved.append) == []
        # Those that were looked at before come first, then the one that has to stay.
        assert reserved[:2] == [("flood", 0), ("light", 0)]
        assert ("light", 1) in reserved
        assert len(queue) == 22

    def test_what_is_gone_leaves_nothing_behind(self) -> None:
        queue = filled(light=3)
        assert queue.take_light(16, 100, lambda _: Verdict.DROP, nothing) == []
        assert len(queue) == 0
        queue.add("light", items("light", 1))
        assert queue.take(10, MANY, all_run, nothing) == items("light", 1)

    def test_an_order_of_its_own_is_kept_within_a_client(self) -> None:
        queue = filled(light=4)
        calls: list[Item] = []

        def judge(item: Item) -> Verdict:
            calls.append(item)
            return Verdict.WAIT if item[1] == 1 else Verdict.TAKE

        # The second must stay, and with it all that came after it.
        assert queue.take_light(16, 100, judge, nothing) == items("light", 1)
        assert calls == items("light", 2)
        assert queue.take(10, MANY, all_run, nothing) == items("light", 3, 1)

"""Slots for what fails are bounded, in all and of each client."""

from typing import NamedTuple

from projector.webhooks.room import Room, Shares, Slots, room_beside

SHARES = Shares(at_once=64, client=32, each=4)


class Sending(NamedTuple):
    subscription: int
    client: str


def test_where_nothing_is_under_way_all_is_free() -> None:
    assert room_beside([], [], SHARES) == Room(Slots(64, 32, 8), 4, {}, Slots(32, 16, 4), {}, ())


def test_what_is_under_way_takes_of_its_subscription_its_client_and_all() -> None:
    sending = [Sending(1, "shop"), Sending(1, "shop"), Sending(2, "shop"), Sending(3, "bank")]
    room = room_beside(sending, {2, 9}, SHARES)
    assert room.all == Slots(60, 31, 7)
    assert room.subscriptions == {1: 2, 2: 0, 3: 3, 9: 1}
    assert room.clients == {"shop": Slots(29, 15, 3), "bank": Slots(31, 16, 4)}


def test_what_fails_has_a_slot_where_there_are_few() -> None:
    assert Slots.of(1) == Slots(1, 1, 1)
    assert Slots.of(6) == Slots(6, 3, 1)

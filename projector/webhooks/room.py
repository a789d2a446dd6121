"""How much may be sent beside what is under way, and of whom. Pure.

Endpoints that only time out hold whatever they are given for a whole attempt. So those that fail
get a part of the slots, and so does each client, whose subscriptions may all be such endpoints.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, Protocol


class UnderWay(Protocol):
    """A delivery that is being sent."""

    @property
    def subscription(self) -> int: ...

    @property
    def client(self) -> str: ...


class Shares(NamedTuple):
    """Attempts at the same time: in all, of a client, and of a subscription."""

    at_once: int
    client: int
    each: int


class Slots(NamedTuple):
    """How many more may be sent, of all or of one client. Below zero there are none."""

    free: int
    failing: int
    """To subscriptions that fail: half, so that they leave room for the others."""
    kept: int
    """Of these, how many take their turn by age; the rest come after all others that are due. An
    eighth: a subscription that failed must be tried to be seen to work again."""

    @classmethod
    def of(cls, slots: int) -> Slots:
        """Where nothing is under way."""
        return cls(slots, max(1, slots // 2), max(1, slots // 8))

    def without(self, sending: int, failing: int) -> Slots:
        """What is left where so many are under way, and so many of them to what fails."""
        return Slots(self.free - sending, self.failing - failing, self.kept - failing)


class Room(NamedTuple):
    """How many more may be sent."""

    all: Slots
    each: int
    """Of a subscription of which nothing is under way."""
    subscriptions: Mapping[int, int]
    """Of the others."""
    client: Slots
    """Of a client of whom nothing is under way."""
    clients: Mapping[str, Slots]
    """Of the others."""
    failing_subscriptions: Collection[int]


def room_beside(under_way: Iterable[UnderWay], failing: Collection[int], shares: Shares) -> Room:
    """What may be sent beside `under_way`, where the last attempts of `failing` failed.

    A subscription that fails gets one attempt at a time.
    """
    sending = list(under_way)
    of_subscription = Counter(one.subscription for one in sending)
    of_client = Counter(one.client for one in sending)
    fails = Counter(one.client for one in sending if one.subscription in failing)
    client = Slots.of(shares.client)
    return Room(
        Slots.of(shares.at_once).without(len(sending), fails.total()),
        shares.each,
        {
            one: (1 if one in failing else shares.each) - of_subscription[one]
            for one in of_subscription.keys() | set(failing)
        },
        client,
        {one: client.without(busy, fails[one]) for one, busy in of_client.items()},
        tuple(failing),
    )
